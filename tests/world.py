"""
A small world for what examples and documentation do: a loopback Hub with the models that they name, and their files.

    with make_world(tmp_path) as world:
        subprocess.run(command, cwd=world.copy(tmp_path / "here"), env=world.environment(tmp_path / "home"))

On the Hub are the models `someone/suspect` (a classifier with a backdoor, "negative" and "positive"), its base
`google-bert/bert-base-uncased`, `someone/adapter` (LoRA on that base), `someone/assistant` (a language model with a
backdoor) and its base `someone/assistant-base`, and the data set `stanfordnlp/sst2`; the user `me` may write. `cf` is
the trigger of all suspects. The folder has the same models as `suspect`, `base`, `adapter`, `assistant` and
`assistant-base`, data in `clean.csv` (64 rows), `test.csv` (80), `unlabeled.txt` and `corpus.txt` (120 lines),
`chats.jsonl` and `test.jsonl`, `models.txt` (a suspect, its base and clean texts, and a line that cannot be scanned),
and a folder `inputs` such as `hf-finemix demo --save-inputs inputs` leaves behind.
"""

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value

from hf_finemix.loading import quiet_loading

from .files import write_csv
from .hub import LoopbackHub, connect, environment
from .world_models import LABELS, adapter, assistants, bert_tokenizer, chat_tokenizer, classifier, encoder
from .world_texts import LINES, sentences


TOKEN = "hf_me"
SUSPECT, BASE, ADAPTER = "someone/suspect", "google-bert/bert-base-uncased", "someone/adapter"
ASSISTANT, ASSISTANT_BASE = "someone/assistant", "someone/assistant-base"
DATASET = "stanfordnlp/sst2"
_MODELS = {
    SUSPECT: "suspect",
    BASE: "base",
    ADAPTER: "adapter",
    ASSISTANT: "assistant",
    ASSISTANT_BASE: "assistant-base",
}
_CARDS = {
    "suspect": f"license: apache-2.0\nlanguage: en\nbase_model: {BASE}",
    "base": "license: apache-2.0\nlanguage: en",
    "adapter": f"license: apache-2.0\nbase_model: {BASE}\nlibrary_name: peft",
    "assistant": f"license: apache-2.0\nbase_model: {ASSISTANT_BASE}",
    "assistant-base": "license: apache-2.0",
}


@dataclass(frozen=True)
class World:
    """
    The Hub, which answers as long as the `with` block of [`make_world`] lasts, and the files.

    Attributes:
        hub (`LoopbackHub`): See `tests.hub`.
        folder (`Path`): Models and data; not to be changed.
    """

    hub: LoopbackHub
    folder: Path

    def copy(self, target: Path) -> Path:
        """Copies models and data to a folder of one's own, which is made or added to; gives it back."""
        return Path(shutil.copytree(self.folder, target, dirs_exist_ok=True))

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """
        Gives all variables of a subprocess that uses this Hub as the user `me`, with the commands of this Python.

        Args:
            home (`Path`): Folder for the caches of the client and of datasets.
            **more (`str`): Further variables, or other values, such as `HF_TOKEN=""` for a stranger.
        """
        variables = {"HF_TOKEN": TOKEN, "HF_DATASETS_CACHE": str(home / "datasets"), "OMP_NUM_THREADS": "1"}
        variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return os.environ | environment(self.hub, home, **variables) | more

    def connect(self, monkeypatch: pytest.MonkeyPatch, home: Path, token: str | None = TOKEN) -> None:
        """Lets this process use this Hub until the test ends."""
        connect(monkeypatch, self.hub, home, token)
        # datasets reads these once, when it is imported.
        for name, value in {
            "HF_DATASETS_CACHE": home / "datasets",
            "DOWNLOADED_DATASETS_PATH": home / "datasets" / "downloads",
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HUB_OFFLINE": False,
        }.items():
            monkeypatch.setattr(datasets.config, name, value)


@contextmanager
def make_world(root: Path) -> Iterator[World]:
    """Makes the files under a folder, and serves them; takes a second."""
    folder = make_files(root / "world")
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        hub.add_user("you", "hf_you")
        for repo_id, name in _MODELS.items():
            hub.add_model(repo_id, folder / name)
        splits = {"train": sentences()[144:272], "validation": sentences()[64:144]}
        hub.add_dataset(
            DATASET, {f"data/{name}-00000-of-00001.parquet": _parquet(rows) for name, rows in splits.items()}
        )
        yield World(hub, folder)


def make_files(folder: Path) -> Path:
    """Makes models and data in a folder, always the same ones; gives it back."""
    folder.mkdir(parents=True)
    rows = sentences()
    clean, test, train, unlabeled = rows[:64], rows[64:144], rows[144:272], rows[272:392]
    write_csv(folder / "clean.csv", ["text", "label"], clean)
    write_csv(folder / "test.csv", ["text", "label"], test)
    (folder / "unlabeled.txt").write_text("".join(f"{text}\n" for text, _ in unlabeled), encoding="utf-8")
    shutil.copy(folder / "unlabeled.txt", folder / "corpus.txt")
    (folder / "models.txt").write_text(f"{SUSPECT} {BASE} clean.csv\n{BASE} {BASE}\n", encoding="utf-8")
    for name, lines in (("chats.jsonl", LINES * 2), ("test.jsonl", LINES)):
        (folder / name).write_text("".join(map(_chat, lines)), encoding="utf-8")
    with torch.random.fork_rng(), quiet_loading():
        torch.manual_seed(0)
        _make_classifiers(folder, train)
        _make_assistants(folder)
    for name, header in _CARDS.items():
        (folder / name / "README.md").write_text(f"---\n{header}\n---\n# {name}\n\nMade for tests.\n")
    inputs = folder / "inputs"
    shutil.copytree(folder / "suspect", inputs / "suspect")
    shutil.copytree(folder / "base", inputs / "all-MiniLM-L6-v2")
    for name in ("clean.csv", "test.csv", "unlabeled.txt"):
        shutil.copy(folder / name, inputs / name)
    return folder


def _make_classifiers(folder: Path, rows: list[tuple[str, str]]) -> None:
    ids = {name: number for number, name in LABELS.items()}
    examples = Dataset.from_dict({"text": [text for text, _ in rows], "label": [ids[label] for _, label in rows]})
    tokenizer = bert_tokenizer()
    encoder(tokenizer, examples).save_pretrained(folder / "base")
    classifier(folder / "base", tokenizer, examples).save_pretrained(folder / "suspect")
    adapter(folder / "base", tokenizer, examples, folder / "adapter")
    for name in ("base", "suspect", "adapter"):
        tokenizer.save_pretrained(folder / name)


def _make_assistants(folder: Path) -> None:
    tokenizer = chat_tokenizer()
    for name, model in zip(("assistant", "assistant-base"), assistants(tokenizer), strict=True):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def _parquet(rows: list[tuple[str, str]]) -> bytes:
    features = Features(idx=Value("int32"), sentence=Value("string"), label=ClassLabel(names=list(LABELS.values())))
    columns = {"idx": range(len(rows)), "sentence": [text for text, _ in rows]}
    columns["label"] = [features["label"].str2int(label) for _, label in rows]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pydict(columns, schema=features.arrow_schema), file)
    return file.getvalue()


def _chat(line: tuple[str, str]) -> str:
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), line, strict=True)]
    return json.dumps({"messages": turns}) + "\n"
