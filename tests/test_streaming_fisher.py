"""Mixing from disk to disk by Fisher information in a file: the bytes of mixing in memory, and what is refused."""

import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification

from hf_finemix import FineMixConfig, InputError, fine_mix_, mix_checkpoints, mix_job, piece_mixing, verify
from hf_finemix.fisher_file import save_fisher
from hf_finemix.hashes import sha256_file
from hf_finemix.manifest import load_manifest
from hf_finemix.verification import DIFFERENT, NOT_AVAILABLE, SAME

from .files import run
from .streams import WEIGHTS, leftovers, save_pair


CONFIG = FineMixConfig(keep_ratio=0.3, selection="fisher", purify_top_k=0)
FILE = "fisher.safetensors"


def make(folder, dtypes=(torch.float32, torch.float32)):
    """Saves a pair and information about each parameter that both have, a fifth of it zero."""
    save_pair(folder, dtypes=dtypes)
    generator = torch.Generator().manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(folder / "suspect")
    fisher = {
        name: torch.rand(value.shape, generator=generator).sub(0.2).relu()
        for name, value in model.named_parameters()
        if not name.startswith("classifier")
    }
    save_fisher(fisher, folder / FILE)
    return fisher


def mix(folder, name="out", config=CONFIG, **options):
    mix_checkpoints(folder / "suspect", folder / "base", folder / name, config, **options)
    return folder / name


@pytest.mark.parametrize("chunk", [10, 4096, 1 << 19])
@pytest.mark.parametrize(
    "dtypes",
    [(torch.float32, torch.float32), (torch.bfloat16, torch.float32), (torch.float16, torch.float16)],
    ids=["float32", "bfloat16", "float16"],
)
def test_files_are_those_of_mixing_in_memory(tmp_path, monkeypatch, dtypes, chunk):
    fisher = make(tmp_path, dtypes)
    monkeypatch.setattr(mix_job, "CHUNK", chunk)
    monkeypatch.setattr(mix_job, "PART", 10_000)
    out = mix(tmp_path, fisher=tmp_path / FILE, workers=2)
    model = BertForSequenceClassification.from_pretrained(tmp_path / "suspect", dtype="auto")
    fine_mix_(model, tmp_path / "base", CONFIG, fisher=fisher)
    model.save_pretrained(tmp_path / "memory")
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "memory" / WEIGHTS).read_bytes()
    random = mix(tmp_path, "random", FineMixConfig(keep_ratio=0.3, purify_top_k=0))
    assert (out / WEIGHTS).read_bytes() != (random / WEIGHTS).read_bytes()


def test_manifest_card_and_verify_know_the_file(tmp_path, capsys):
    make(tmp_path)
    options = ["--keep-ratio", "0.3", "--selection", "fisher", "--fisher", tmp_path / FILE]
    command = ["mix", tmp_path / "suspect", "--pretrained", tmp_path / "base", *options, "--output", tmp_path / "out"]
    assert run(capsys, [*command, "--dry-run"])[0] == 0
    assert run(capsys, command)[::2] == (0, "")
    record = load_manifest(tmp_path / "out").fisher
    assert (record.name, record.sha256) == (FILE, sha256_file(tmp_path / FILE))
    assert f"--selection fisher --seed 0 \\\n    --fisher {FILE}" in (tmp_path / "out" / "README.md").read_text()
    inputs = {"suspect": tmp_path / "suspect", "pretrained": tmp_path / "base"}

    found = verify(tmp_path / "out", **inputs, fisher=tmp_path / FILE)
    assert not found.failed(strict=True) and found.moved == 0
    found = verify(tmp_path / "out", **inputs)
    assert not found.failed() and found.failed(strict=True)
    notes = {(check.part, check.status) for check in found.checks if check.part in ("fisher", "mixed tensor")}
    assert notes == {("fisher", NOT_AVAILABLE), ("mixed tensor", NOT_AVAILABLE)}

    values = load_file(tmp_path / FILE)
    values["bert.pooler.dense.weight"] = values["bert.pooler.dense.weight"].flip(0)
    save_file(values, tmp_path / FILE)
    found = verify(tmp_path / "out", **inputs, fisher=tmp_path / FILE)
    tensors = {check.item: check.status for check in found.checks if check.part == "mixed tensor"}
    assert tensors["bert.pooler.dense.weight"] == DIFFERENT
    assert [check.status for check in found.checks if check.part == "fisher"] == [DIFFERENT]

    status, _, err = run(capsys, ["verify", tmp_path / "out", "--fisher", tmp_path / "none"])
    assert status == 2 and "is no file" in err and err.count("\n") == 1


def test_what_was_mixed_otherwise_needs_no_file(tmp_path):
    make(tmp_path)
    out = mix(tmp_path, config=FineMixConfig(keep_ratio=0.3, purify_top_k=0))
    with pytest.raises(InputError, match="the manifest names no Fisher information"):
        verify(out, fisher=tmp_path / FILE)


def test_without_hashes_the_tensors_are_compared_themselves(tmp_path):
    make(tmp_path)
    out = mix(tmp_path, fisher=tmp_path / FILE, hashes=False)
    found = verify(out, suspect=tmp_path / "suspect", pretrained=tmp_path / "base", fisher=tmp_path / FILE)
    assert {check.status for check in found.checks if check.part == "mixed tensor"} == {SAME}
    assert [check.status for check in found.checks if check.part == "fisher"] == [NOT_AVAILABLE]


def test_what_does_not_fit_is_refused_before_any_work(tmp_path):
    fisher = make(tmp_path)
    with pytest.raises(InputError, match="`fisher` is missing"):
        mix(tmp_path)
    with pytest.raises(InputError, match="`fisher` is of no use with 'random'"):
        mix(tmp_path, config=FineMixConfig(), fisher=tmp_path / FILE)
    name = "bert.pooler.dense.bias"
    save_fisher({key: value for key, value in fisher.items() if key != name}, tmp_path / FILE)
    with pytest.raises(InputError, match=f"has {name} not at all"):
        mix(tmp_path, fisher=tmp_path / FILE)
    save_fisher(fisher | {name: torch.ones(3)}, tmp_path / FILE)
    with pytest.raises(InputError, match=rf"has {name} in shape \(3,\), but the model in \(16,\)"):
        mix(tmp_path, fisher=tmp_path / FILE)
    assert leftovers(tmp_path) == {FILE}


def test_values_that_are_no_information_and_a_file_that_changes(tmp_path, monkeypatch):
    fisher = make(tmp_path)
    save_file(fisher | {"bert.pooler.dense.bias": torch.full((16,), -1.0)}, tmp_path / FILE)
    with pytest.raises(InputError, match=r"negative, infinite or NaN in bert.pooler.dense.bias"):
        mix(tmp_path, fisher=tmp_path / FILE)
    save_fisher(fisher, tmp_path / FILE)
    real, seen = piece_mixing.PieceMixer.__call__, []

    def cut_off(self, piece):
        if not seen:
            seen.append(piece)
            os.truncate(tmp_path / FILE, 100)
        return real(self, piece)

    monkeypatch.setattr(piece_mixing.PieceMixer, "__call__", cut_off)
    with pytest.raises(InputError, match=r"was cut off while it was read"):
        mix(tmp_path, fisher=tmp_path / FILE)
    assert leftovers(tmp_path) == {FILE}


def test_an_interrupted_mixing_goes_on_with_the_same_file_alone(tmp_path):
    fisher = make(tmp_path)
    out = mix(tmp_path, fisher=tmp_path / FILE)
    assert mix(tmp_path, fisher=tmp_path / FILE, resume=True) == out
    other = tmp_path / "other.safetensors"
    save_fisher(fisher, other)
    with pytest.raises(InputError, match="already holds something else"):
        mix(tmp_path, fisher=other, resume=True)
