"""Mixing from disk to disk gives the bytes of mixing in memory, however the work is cut."""

import json
import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, BertModel, GPT2LMHeadModel

from hf_finemix import FineMixConfig, InputError, mix_checkpoints, mix_job
from hf_finemix.drift import in_parts
from hf_finemix.hashes import sha256_file, sha256_tensor
from hf_finemix.manifest import load_manifest
from hf_finemix.masks import keep_mask
from hf_finemix.mixing import mix_
from hf_finemix.part_mixing import find_mix_cut
from hf_finemix.safetensors_header import read_file
from hf_finemix.streaming import OutputFiles

from .models import bits_equal, family, make
from .streams import CONFIG, WEIGHTS, change, leftovers, mix, mix_in_memory, save_pair, tensors


NAME = "bert.encoder.layer.1.output.dense.weight"


@pytest.fixture
def cuts(monkeypatch):
    """Sets how the work is cut."""

    def set_them(chunk, part):
        monkeypatch.setattr(mix_job, "CHUNK", chunk)
        monkeypatch.setattr(mix_job, "PART", part)

    return set_them


def same_files(first, second):
    """Whether two checkpoints agree in every byte of weights and configuration."""
    names = {path.name for path in first.glob("*.safetensors")}
    assert names == {path.name for path in second.glob("*.safetensors")} and names
    configs = (json.loads((folder / "config.json").read_text()) for folder in (first, second))
    return next(configs) == next(configs) and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in names
    )


@pytest.mark.parametrize("selection", ["random", "smallest_drift", "largest_drift"])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "gpt2"])
def test_files_are_those_of_mixing_in_memory(tmp_path, name, selection):
    save_pair(tmp_path, name)
    config = FineMixConfig(keep_ratio=0.3, selection=selection, seed=3, purify_top_k=0)
    report = mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", config)
    assert same_files(tmp_path / "out", mix_in_memory(tmp_path, family(name).task, config))
    assert leftovers(tmp_path) == {"out", "memory"}
    assert 0.2 < report.kept_share < 0.4 and report.config == config


@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float64, torch.float32),
        (torch.float32, torch.float64),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float64),
        (torch.float16, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("chunk", [20, 1 << 19])
def test_all_dtypes_and_chunks(tmp_path, cuts, dtypes, chunk):
    cuts(chunk, 1000)
    save_pair(tmp_path, dtypes=dtypes)
    assert same_files(mix(tmp_path, workers=2), mix_in_memory(tmp_path, BertForSequenceClassification))


@pytest.mark.parametrize("selection", ["random", "smallest_drift"])
def test_masks_of_blocks_are_cut_anywhere(tmp_path, cuts, selection):
    """A tensor of more than one block of the generator, in pieces that begin within blocks or at their ends."""
    kind = family("bert")
    kind.config.vocab_size = 9000
    make(kind.task, kind.config, 1).to(torch.bfloat16).save_pretrained(tmp_path / "suspect")
    make(kind.bare, kind.config).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    config = FineMixConfig(keep_ratio=0.5, selection=selection, seed=1, purify_top_k=0)
    expected = mix_in_memory(tmp_path, BertForSequenceClassification, config)
    for number, (chunk, part) in enumerate([(1 << 19, 1 << 25), (1 << 17, 1 << 18), (99_999, 50_000), (777, 1)]):
        cuts(chunk, part)
        out = mix(tmp_path, f"out{number}", config, workers=1 + number % 3, hashes=number % 2 == 0)
        assert same_files(out, expected)


def test_shards_are_cut_as_the_suspects_are(tmp_path):
    save_pair(tmp_path, max_shard_size="7KB")
    out, suspect = mix(tmp_path), tmp_path / "suspect"
    shards = sorted(path.name for path in suspect.glob("*.safetensors"))
    assert len(shards) > 3 and sorted(path.name for path in out.glob("*.safetensors")) == shards
    for name in shards:
        header, other = (read_file(folder / name, name) for folder in (suspect, out))
        assert header.tensors == other.tensors and header.header == other.header
    index = "model.safetensors.index.json"
    assert json.loads((out / index).read_text()) == json.loads((suspect / index).read_text())
    found, expected = tensors(out), tensors(mix_in_memory(tmp_path, BertForSequenceClassification))
    assert found.keys() == expected.keys() and all(bits_equal(value, found[k]) for k, value in expected.items())


@pytest.mark.parametrize("sizes", [("5GB", "4KB"), ("5KB", "6 kb"), ("5KB", 100_000)])
def test_shards_on_either_side_and_in_the_output_change_nothing(tmp_path, cuts, sizes):
    cuts(333, 2000)
    whole = tensors(mix(save_pair(tmp_path / "whole")))
    many = mix(save_pair(tmp_path / "many", max_shard_size=sizes[0]), max_shard_size=sizes[1], workers=2)
    shards = sorted(path.name for path in many.glob("*.safetensors"))
    found = tensors(many)
    assert found.keys() == whole.keys() and all(bits_equal(value, found[name]) for name, value in whole.items())
    if sizes[1] == 100_000:
        assert (many / WEIGHTS).read_bytes() == (tmp_path / "whole" / "out" / WEIGHTS).read_bytes()
        return
    assert len(shards) > 3 and not (many / WEIGHTS).exists()
    index = json.loads((many / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in whole.values())
    assert all(load_file(many / file)[name] is not None for name, file in index["weight_map"].items())
    assert index["weight_map"].keys() == whole.keys() and set(index["weight_map"].values()) == set(shards)
    loaded = BertForSequenceClassification.from_pretrained(many)
    assert bits_equal(loaded.bert.pooler.dense.weight.detach(), whole["bert.pooler.dense.weight"])


def test_mixed_dtypes_stay_and_what_is_no_float_is_copied(tmp_path):
    save_pair(tmp_path)
    position_ids = torch.arange(20)

    def vary(weights):
        kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
        new = {name: value.to(kinds[number % 4]) for number, (name, value) in enumerate(weights.items())}
        new["bert.embeddings.position_ids"] = position_ids
        return new | {"bert.flags": torch.tensor([True, False, True]), "bert.empty": torch.zeros(0, 3).int()}

    change(tmp_path / "suspect", vary)
    suspect, base = tensors(tmp_path / "suspect"), tensors(tmp_path / "base")
    found = tensors(mix(tmp_path))
    assert found.keys() == suspect.keys()
    for name, value in found.items():
        if name.removeprefix("bert.") in base:
            keep = torch.from_numpy(keep_mask(name, tuple(value.shape), 0.3, 7))
            other = base[name.removeprefix("bert.")].to(value.dtype)
            assert bits_equal(value, torch.where(keep, suspect[name], other)), name
        else:
            assert value.dtype == suspect[name].dtype and torch.equal(value, suspect[name]), name


def test_legacy_names_are_written_as_of_today(tmp_path):
    save_pair(tmp_path)
    expected = mix(tmp_path, "expected") / WEIGHTS

    def age(weights):
        names = {name: name.replace("LayerNorm.weight", "LayerNorm.gamma") for name in weights}
        return {new.replace("LayerNorm.bias", "LayerNorm.beta"): weights[name] for name, new in names.items()}

    for folder in ("suspect", "base"):
        change(tmp_path / folder, age)
    assert "bert.embeddings.LayerNorm.beta" in tensors(tmp_path / "suspect")
    assert (mix(tmp_path) / WEIGHTS).read_bytes() == expected.read_bytes()


def test_a_base_with_a_head_and_a_bare_suspect(tmp_path):
    kind = family("bert")
    make(kind.task, kind.config, 1).save_pretrained(tmp_path / "suspect")
    make(kind.task, kind.config).save_pretrained(tmp_path / "base")
    assert same_files(mix(tmp_path), mix_in_memory(tmp_path, BertForSequenceClassification))
    make(kind.bare, kind.config, 1).save_pretrained(tmp_path / "bare" / "suspect")
    make(kind.task, kind.config).save_pretrained(tmp_path / "bare" / "base")
    assert same_files(mix(tmp_path / "bare"), mix_in_memory(tmp_path / "bare", BertModel))


def test_files_that_lack_the_prefix_of_their_model_get_it(tmp_path):
    """GPT-2 on the Hub is stored so: as the base model alone, under the name of the model with a head."""
    save_pair(tmp_path, "gpt2")
    expected = mix(tmp_path, "expected")
    change(tmp_path / "suspect", lambda weights: {k.removeprefix("transformer."): v for k, v in weights.items()})
    out = mix(tmp_path)
    assert (out / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
    assert same_files(out, mix_in_memory(tmp_path, GPT2LMHeadModel))


def test_tied_tensors_are_one_parameter(tmp_path):
    save_pair(tmp_path, "gpt2")
    once = tensors(mix(tmp_path, "once"))
    change(tmp_path / "suspect", lambda w: w | {"lm_head.weight": w["transformer.wte.weight"].clone()})
    report = mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", CONFIG)
    found = tensors(tmp_path / "out")
    assert bits_equal(found["lm_head.weight"], once["transformer.wte.weight"])
    assert all(bits_equal(found[name], value) for name, value in once.items())
    assert "lm_head.weight" not in {record.name for record in report.parameters}
    # One that differs is the model's own, and so is one whose configuration says so.
    change(tmp_path / "suspect", lambda w: w | {"lm_head.weight": w["lm_head.weight"] + 1})
    report = mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "apart", CONFIG)
    assert "lm_head.weight" in {record.name for record in report.mixed}
    # It began as the base's word embedding, and is mixed with that.
    memory = tensors(mix_in_memory(tmp_path, GPT2LMHeadModel))
    assert bits_equal(tensors(tmp_path / "apart")["lm_head.weight"], memory["lm_head.weight"])


@pytest.mark.parametrize("selection", ["random", "smallest_drift"])
@pytest.mark.parametrize("rows", [(53, 48), (48, 60)])
def test_vocabularies_of_different_size_are_mixed_row_by_row(tmp_path, cuts, selection, rows):
    cuts(200, 500)
    for folder, size, seed in zip(("suspect", "base"), rows, (1, 0), strict=True):
        kind = family("bert")
        kind.config.vocab_size = size
        make(kind.task if seed else kind.bare, kind.config, seed).save_pretrained(tmp_path / folder)
    config = FineMixConfig(0.3, selection, 7, 0)
    report = mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", config)
    name = "bert.embeddings.word_embeddings.weight"
    suspect, base = tensors(tmp_path / "suspect"), tensors(tmp_path / "base")
    pairs = {
        key: (value[: min(rows)] if key == name else value, base[key.removeprefix("bert.")][: len(value)])
        for key, value in suspect.items()
        if key.removeprefix("bert.") in base
    }
    sizes = {key: first.numel() for key, (first, _) in pairs.items()}
    cut = find_mix_cut(config, list(pairs), lambda key: in_parts(*pairs[key]), sizes)
    found, kept = tensors(tmp_path / "out"), 0
    for key, (first, second) in pairs.items():
        kept += mix_(first, second, key, config, cut)
        assert bits_equal(found[key][: len(first)], first), key
    assert bits_equal(found[name][min(rows) :], tensors(tmp_path / "suspect")[name][min(rows) :])
    assert len(found[name]) == rows[0]
    extra = (rows[0] - min(rows)) * 16
    assert sum(record.kept_scalars for record in report.mixed) == kept + extra
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "out")
    assert loaded.get_input_embeddings().num_embeddings == rows[0]


def test_excluded_parameters_and_extreme_ratios(tmp_path):
    save_pair(tmp_path)
    suspect = tensors(tmp_path / "suspect")
    config = FineMixConfig(keep_ratio=0.0, exclude=("LayerNorm", "^bert.pooler"), purify_top_k=0)
    found = tensors(mix(tmp_path, config=config))
    base = tensors(tmp_path / "base")
    for name, value in found.items():
        stays = "LayerNorm" in name or "pooler" in name or "classifier" in name
        assert bits_equal(value, suspect[name] if stays else base[name.removeprefix("bert.")]), name
    whole = mix(tmp_path, "whole", FineMixConfig(keep_ratio=1.0, purify_top_k=0))
    assert (whole / WEIGHTS).read_bytes() == (tmp_path / "suspect" / WEIGHTS).read_bytes()


def test_a_mixed_model_loads_and_is_not_mixed_twice(tmp_path):
    save_pair(tmp_path)
    out = mix(tmp_path)
    model = BertForSequenceClassification.from_pretrained(out)
    assert model.config.finemix["keep_ratio"] == 0.3 and model.config.finemix["pretrained"] == "base"
    with pytest.raises(InputError, match="was mixed before"):
        mix_checkpoints(out, tmp_path / "base", tmp_path / "again", CONFIG)
    assert {"README.md", "finemix_manifest.json", "finemix_report.json"} <= {path.name for path in out.iterdir()}
    assert load_file(out / WEIGHTS)[NAME].shape == (16, 24)


def test_code_and_paths_of_a_suspect_stay_behind(tmp_path):
    save_pair(tmp_path)
    path = tmp_path / "suspect" / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "x.y"}, "_name_or_path": "/a"})
    )
    (tmp_path / "suspect" / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.y"}, "unk": "x"}')
    (tmp_path / "suspect" / "vocab.txt").write_text("a\nb\n")
    (tmp_path / "suspect" / "evil.py").write_text("")
    out = mix(tmp_path)
    assert not {"auto_map", "_name_or_path"} & json.loads((out / "config.json").read_text()).keys()
    assert json.loads((out / "tokenizer_config.json").read_text()) == {"unk": "x"}
    assert (out / "vocab.txt").read_text() == "a\nb\n" and not (out / "evil.py").exists()


def test_hashes_wait_for_parts_that_are_late(tmp_path, cuts, monkeypatch):
    """One thread stays in the middle of the word embedding, while another one writes what comes after it."""
    cuts(256, 256)
    save_pair(tmp_path)
    real, count, others = OutputFiles.write, iter(range(10**9)), threading.Event()

    def write(self, number, at, buffer):
        turn = next(count)
        if turn == 12:
            others.wait(10)
            time.sleep(0.3)
        if turn == 90:
            others.set()
        real(self, number, at, buffer)

    monkeypatch.setattr(OutputFiles, "write", write)
    out = mix(tmp_path, workers=2)
    assert others.is_set()
    manifest = load_manifest(out)
    assert next(file for file in manifest.outputs if file.name == WEIGHTS).sha256 == sha256_file(out / WEIGHTS)
    assert {record.name: record.sha256 for record in manifest.mixed_tensors} == {
        name: sha256_tensor(value) for name, value in tensors(out).items() if name.startswith("bert.")
    }
