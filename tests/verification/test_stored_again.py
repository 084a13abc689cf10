"""Mixing again without loading a model says what mixing of loaded models says, and is used where it can be."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification, BertModel

from hf_finemix import FineMixConfig, mix_job, stored_again
from hf_finemix.stored_again import StoredAgain

from ..purified import edit, refit
from .lines import CONFIG, TENSORS, fill, purify_place, verify
from .test_hostile_manifests import config, first_tensor, remix


@pytest.fixture
def no_model(monkeypatch):
    """Makes the loading of a model fail."""

    def load(*arguments):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("hf_finemix.again.load_pair", load)


def both(capsys, place, monkeypatch):
    """What is said without a loaded model, and with one."""
    stored = verify(capsys, place)
    monkeypatch.setattr(StoredAgain, "is_what_was_loaded", lambda self: False)
    return stored, verify(capsys, place)


def lines(answer):
    """All lines of an answer; tensors that the manifest does not list may come in any order."""
    return sorted((check["part"], check["item"], check["status"], check["note"]) for check in answer.found["checks"])


def change(place, how):
    """Changes the manifest."""
    path = place.output / "finemix_manifest.json"
    manifest = json.loads(path.read_text())
    how(manifest)
    path.write_text(json.dumps(manifest))


def nothing(place):
    """Leaves the place as it is."""


def other_bit(place):
    path = place.output / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.pooler.dense.weight"].view(torch.int32)[0, 0] ^= 1
    save_file(tensors, path, {"format": "pt"})


def lacks_a_tensor(place):
    path = place.output / "model.safetensors"
    tensors = load_file(path)
    del tensors["bert.pooler.dense.bias"]
    save_file(tensors, path, {"format": "pt"})


def other_shape(place):
    path = place.output / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.pooler.dense.bias"] = torch.zeros(3)
    save_file(tensors, path, {"format": "pt"})


SPOILED = {
    "nothing": nothing,
    "one bit of the output": other_bit,
    "a tensor is missing": lacks_a_tensor,
    "a tensor has another shape": other_shape,
    "the output is NaN": lambda place: fill(place, "bert.pooler.dense.bias", float("nan")),
    "the output is no longer there": lambda place: (place.output / "model.safetensors").unlink(),
    "seed": lambda place: change(place, config(seed=1)),
    "other rows": lambda place: remix(place, purified_rows=[1, 2, 3, 4, 5]),
    "hash": lambda place: change(place, first_tensor(sha256="0" * 64)),
    "counts of a file": lambda place: edit(place, frequencies="counts.csv"),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_both_ways_say_the_same(place, capsys, monkeypatch, spoil):
    spoil(place)
    stored, loaded = both(capsys, place, monkeypatch)
    assert stored.status == loaded.status and lines(stored) == lines(loaded)
    moved = [answer.found["moved"] for answer in (stored, loaded)]
    assert moved == [None, None] or moved[0] == pytest.approx(moved[1], rel=1e-9)


@pytest.mark.parametrize("spoil", [nothing, other_bit, lacks_a_tensor], ids=lambda spoil: spoil.__name__)
def test_both_ways_say_the_same_of_a_model_that_was_not_trained(untrained, capsys, monkeypatch, spoil):
    spoil(untrained)
    refit(untrained)
    stored, loaded = both(capsys, untrained, monkeypatch)
    assert stored.status == loaded.status == (spoil is not nothing)
    assert lines(stored) == lines(loaded)


@pytest.mark.parametrize("chunk", [1, 40, 1000, 1 << 20])
def test_rows_are_reset_however_the_work_is_cut(place, capsys, monkeypatch, no_model, chunk):
    monkeypatch.setattr(mix_job, "CHUNK", chunk)
    monkeypatch.setattr(stored_again, "CHUNK", chunk)
    answer = verify(capsys, place, "--strict")
    assert answer.status == 0 and len(answer.items("same", "mixed tensor")) == TENSORS
    assert answer.items("same", "reset rows") and answer.found["moved"] > 0


@pytest.mark.parametrize("selection", ["random", "smallest_drift", "largest_drift"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_model_is_loaded(place, capsys, no_model, selection, dtype):
    for folder, cls in ((place.suspect, BertForSequenceClassification), (place.base, BertModel)):
        cls.from_pretrained(folder).to(dtype).save_pretrained(folder)
    shutil.rmtree(place.output)
    purify_place(place, FineMixConfig(selection=selection, purify_top_k=5))
    answer = verify(capsys, place, "--strict")
    assert answer.status == 0 and len(answer.items("same", "mixed tensor")) == TENSORS


def test_a_model_is_loaded_where_its_file_is_in_another_dtype(place, capsys, monkeypatch):
    # The base is rounded to the suspect's dtype by way of the widest one in the model.
    model = BertForSequenceClassification.from_pretrained(place.suspect).to(torch.bfloat16)
    model.classifier.float()
    model.save_pretrained(place.suspect)
    shutil.rmtree(place.output)
    purify_place(place, CONFIG)
    used = []
    real = StoredAgain.is_what_was_loaded
    monkeypatch.setattr(StoredAgain, "is_what_was_loaded", lambda self: used.append(real(self)) or used[-1])
    assert verify(capsys, place, "--strict").status == 0
    assert used == [False]
