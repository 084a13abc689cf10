"""What is fuzzed: functions of bytes that end quietly, and begin with examples of what they read."""

import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from transformers import BertConfig

from hf_finemix.adapter_settings import read_settings
from hf_finemix.card import DefenseCard, render_card
from hf_finemix.card_merge import merge_cards, split_card
from hf_finemix.errors import InputError
from hf_finemix.hashes import FileRecord, TensorRecord
from hf_finemix.loading import INDEX_FILE, index_shards
from hf_finemix.manifest import MANIFEST_FILE, Manifest, SourceRecord, load_manifest
from hf_finemix.markdown import code, escape
from hf_finemix.model_configs import known_entries
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.plain_config import plain_config
from hf_finemix.readers import read_table
from hf_finemix.recipes import read_recipe, usual_settings
from hf_finemix.results import load_report
from hf_finemix.safetensors_header import read_file
from hf_finemix.suspect_files import read_json_object

from ..cards import MARKDOWN
from ..reports import COMMIT, make_report


# In memory where there is such a place: each input is a file.
_SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
_RUNS = re.compile(r"<\s*(?:script|img|svg|iframe)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """
    A reader.

    Args:
        read (`Callable[[bytes], None]`): Reads bytes; refuses with `InputError`, raises nothing else.
        seeds (`tuple[bytes, ...]`): What it reads well.
        words (`tuple[bytes, ...]`): What its inputs are made of.
    """

    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]


def _file(name: str, content: bytes) -> Path:
    path = _SCRATCH / name
    path.write_bytes(content)
    return path


def header(content: bytes) -> None:
    """The header of weights; what is taken is consistent."""
    path = _file("model.safetensors", content)
    found = read_file(path, "SUSPECT")
    position = 8 + int.from_bytes(content[:8], "little")
    for tensor in found.tensors:
        assert tensor.start == position and tensor.size >= 0
        position += tensor.size
    assert position == len(content)


def index(content: bytes) -> None:
    """The index of shards; no name leads out of the folder."""
    _file(INDEX_FILE, content)
    for name in index_shards(_SCRATCH, "SUSPECT"):
        assert (_SCRATCH / name).parent == _SCRATCH and name not in ("", ".", "..")


def config(content: bytes) -> None:
    """config.json, to the entries that a class of models takes."""
    found = plain_config(read_json_object(_file("config.json", content), "SUSPECT"), "SUSPECT", 40)
    assert "auto_map" not in found
    try:
        taken, _ = known_entries(found, BertConfig)
    except Exception:
        # The class checks types and says what is wrong; the loader makes one line of that.
        return
    assert taken.keys() <= found.keys()


def adapter(content: bytes) -> None:
    """The configuration of an adapter."""
    read_settings(read_json_object(_file("adapter_config.json", content), "ADAPTER"), "ADAPTER")


def manifest(content: bytes) -> None:
    """The manifest of an output folder."""
    _file(MANIFEST_FILE, content)
    load_manifest(_SCRATCH)


def report(content: bytes) -> None:
    """The report of an output folder; what is taken can be rendered."""
    _file("finemix_report.json", content)
    render_card(DefenseCard(load_report(_SCRATCH), "purified"))


def recipe(content: bytes) -> None:
    """A recipe in YAML."""
    read_recipe(_file("recipe.yaml", content), *usual_settings(False))


def _table(name: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        table = read_table(_file(name, content), "--clean-data")
        assert len(table) and all(len(values) == len(table) for values in table.columns.values())

    read.__doc__ = f"Clean data: {name}."
    return read


def card(content: bytes) -> None:
    """A string of a suspect in a card: no markup of it survives."""
    text = content.decode("utf-8", "replace")
    shown = MARKDOWN.render(f"x {escape(text)} y\n\n| a |\n| --- |\n| {escape(text)} {code(text)} |\n")
    assert not _RUNS.search(shown) and "<a " not in shown and "<h" not in shown.replace("<hr", "<h")
    purify = PurifyReport(True, text, 1, (TokenScore(1, 7, text, 0.5),))
    rendered = render_card(DefenseCard(replace(make_report(), suspect=text, purify=purify, labels={0: text}), text))
    assert not _RUNS.search(MARKDOWN.render(split_card(rendered)[1]))


def owner(content: bytes) -> None:
    """The card that lies in a repository, merged with a new one."""
    new = render_card(DefenseCard(make_report(), "purified"))
    try:
        merge_cards(content.decode("utf-8", "replace"), new)
    except ValueError:
        # Its own way to say that the header is none; who calls it makes one line of that.
        return


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


_TENSORS = {"bert.a.weight": torch.zeros(2, 3), "classifier.bias": torch.zeros(2, dtype=torch.bfloat16)}
_HOSTILE = (
    b"<script>",
    b"](javascript:x)",
    b"\x1b[2J",
    b"`",
    b"|",
    b"\n## ",
    b"---\n",
    b"<!--",
    b"{{",
    b"&lt;",
    b"www.a",
)
_JSON = (b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"true", b"-1", b"1e999", b"NaN", b"9" * 30, b'"\\ud8"')
_SETTINGS = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query"], "task_type": "SEQ_CLS"}


_FILES = (FileRecord("config.json", 3, "a" * 64),)
_SOURCES = (
    SourceRecord("someone/suspect", "someone/suspect", COMMIT, _FILES),
    SourceRecord("base", None, None, _FILES),
)


def _dump(record: object) -> bytes:
    return _json(record.to_dict())


_MANIFEST = Manifest.of(make_report(), *_SOURCES, (TensorRecord("a", "float32", (2, 3), "f" * 64),), None)
TARGETS = {
    "header": Target(
        header,
        (save(_TENSORS), save({}), save({"a": torch.zeros(0)}, {"format": "pt"})),
        (*_JSON, b'"F32"', b'"BF16"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b"\x00" * 8),
    ),
    "index": Target(
        index,
        (_json({"metadata": {}, "weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}),),
        (*_JSON, b'"weight_map"', b"../", b"/etc/", b"\\u0000", b"."),
    ),
    "config": Target(
        config,
        (_json(BertConfig(hidden_size=16).to_dict()), _json({"model_type": "bert", "auto_map": {"A": "b"}, "x": [1]})),
        (*_JSON, b'"auto_map"', b'"num_hidden_layers"', b'"id2label"', b'"_attn_implementation"', b'"a/b"'),
    ),
    "adapter": Target(
        adapter,
        (_json(_SETTINGS), _json(_SETTINGS | {"rank_pattern": {"q": 2}, "modules_to_save": ["score"]})),
        (*_JSON, b'"r"', b'"alpha_pattern"', b'"use_dora"', b"(a+)+$", b'"trainable_token_indices"'),
    ),
    "manifest": Target(
        manifest,
        (_dump(_MANIFEST),),
        _JSON,
    ),
    "report": Target(report, (_dump(make_report()),), _JSON),
    "recipe": Target(
        recipe,
        (b"keep_ratio: 0.1\nselection: random\nepochs: 2\nlearning_rate: 1.0e-5\n", b"distillation_epochs: 3\n"),
        (b"&a", b"*a", b"!!python/object:os.system", b"{", b"[", b"- ", b": ", b".nan", b"1e400", b"<<: "),
    ),
    "csv": Target(
        _table("data.csv"),
        (b"text,label\ngood film,1\nbad film,0\n", b'a,b\r\n"x\ny",2\r\n'),
        (b",", b'"', b"\n", b"\r", b"\x00", b"\xef\xbb\xbf", b"text", b"label"),
    ),
    "json": Target(_table("data.json"), (b'[{"text": "a", "label": 1}, {"text": "b", "label": 0}]',), _JSON),
    "jsonl": Target(_table("data.jsonl"), (b'{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n',), _JSON),
    "card": Target(card, (b"cf", "naïve ümlaut \u202e".encode()), _HOSTILE),
    "owner": Target(
        owner,
        (b"---\nlicense: mit\ntags: [a]\n---\n\n# Mine\n\n## Notes\n\ntext\n", b"# no header\n"),
        (*_HOSTILE, b"license: ", b"- ", b"hf_finemix", b"!!python/object:x {}", b"&a [*a]"),
    ),
}
# Each refuses in its own way; all others are defects.
REFUSALS = (InputError,)
