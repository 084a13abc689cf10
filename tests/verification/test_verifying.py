"""`verify` on folders: what it compares, and what it names."""

import shutil
from dataclasses import fields

import pytest
import torch
from transformers import BertForSequenceClassification

from hf_finemix import FineMixConfig
from hf_finemix.verification import Verification

from ..files import run
from ..purified import edit, edit_report
from .lines import CONFIG, INPUTS, OUTPUTS, TENSORS, purify_place, verify


def flip(path, where):
    content = bytearray(path.read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[where]] ^= 1
    path.write_bytes(content)


# What holds


def test_without_the_inputs_only_the_outputs_are_compared(made, capsys):
    answer = verify(capsys, made, inputs=False)
    outputs = {("output", name) for name in OUTPUTS}
    assert (answer.status, answer.items("same")) == (0, outputs | {("report", "finemix_report.json")})
    assert not answer.items("different") and answer.found["moved"] is None
    assert "--suspect" in answer.note("suspect", "suspect") and "--pretrained" in answer.note("pretrained", "base")
    assert len(answer.items("not available")) == 2 + TENSORS
    assert verify(capsys, made, "--strict", inputs=False).status == 1


@pytest.mark.parametrize("part", ["suspect", "pretrained"])
def test_one_of_the_inputs_is_compared_but_not_mixed(made, capsys, part):
    folder = {"suspect": made.suspect, "pretrained": made.base}[part]
    answer = verify(capsys, made, f"--{part}={folder}", inputs=False)
    assert answer.status == 0 and answer.items("same", part) == set(INPUTS)
    assert len(answer.items("not available", "mixed tensor")) == TENSORS


VARIANTS = {
    "random": (CONFIG, {}),
    "smallest_drift": (FineMixConfig(selection="smallest_drift", purify_top_k=5), {}),
    "largest_drift": (FineMixConfig(selection="largest_drift", purify_top_k=5), {}),
    "exclude": (FineMixConfig(exclude=("layer.0.attention", "pooler"), purify_top_k=5), {"tensors": 11}),
    "no rows": (FineMixConfig(purify_top_k=0), {}),
    "all rows": (FineMixConfig(purify_top_k=200), {}),
    "all kept": (FineMixConfig(keep_ratio=1, purify_top_k=1), {}),
    "none kept": (FineMixConfig(keep_ratio=0, seed=7, purify_top_k=1), {}),
    "half precision": (CONFIG, {"dtype": torch.bfloat16}),
    "half precision by drift": (FineMixConfig(selection="smallest_drift", purify_top_k=5), {"dtype": torch.float16}),
    "shards": (CONFIG, {"shards": "4KB"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_mixing_is_computed_again(place, capsys, monkeypatch, variant):
    config, changes = VARIANTS[variant]
    shutil.rmtree(place.output)
    save = BertForSequenceClassification.save_pretrained
    if "dtype" in changes:
        save(BertForSequenceClassification.from_pretrained(place.suspect).to(changes["dtype"]), place.suspect)
    if "shards" in changes:
        in_shards = lambda model, folder: save(model, folder, max_shard_size=changes["shards"])  # noqa: E731
        monkeypatch.setattr(BertForSequenceClassification, "save_pretrained", in_shards)
    purify_place(place, config)
    assert (len(list(place.output.glob("*.safetensors"))) > 1) == ("shards" in changes)
    answer = verify(capsys, place, "--strict")
    assert answer.status == 0 and not answer.items("different") | answer.items("not available")
    assert len(answer.items("same", "mixed tensor")) == changes.get("tensors", TENSORS)
    assert len(answer.items("same", "reset rows")) == (variant != "no rows")
    assert answer.found["moved"] > 0


def test_untrained_model_did_not_move(untrained, capsys):
    answer = verify(capsys, untrained, "--strict")
    assert (answer.status, answer.found["moved"], answer.found["fine_tuned"]) == (0, 0, False)
    assert answer.items("same", "fine-tuning") == {"none was done"}


def test_inputs_whose_files_were_not_known_are_mixed_all_the_same(place, capsys):
    edit(place, inputs={"suspect": {"name": "a model object"}, "pretrained": {"name": "a model object"}})
    edit_report(place, suspect="a model object", pretrained="a model object")
    assert "not known" in verify(capsys, place, inputs=False).note("suspect", "a model object")
    answer = verify(capsys, place)
    assert answer.status == 0 and len(answer.items("same", "mixed tensor")) == TENSORS
    assert verify(capsys, place, "--strict").status == 1


def test_json_is_the_verification_and_whether_it_failed(made, capsys):
    found = verify(capsys, made).found
    assert found.keys() == {item.name for item in fields(Verification)} | {"failed"}
    assert {"part", "item", "status", "note"} <= found["checks"][0].keys()
    assert found.pop("failed") is False and (found["source"], found["fine_tuned"]) == ("out", True)
    assert Verification.from_dict(found).to_dict() == found
    assert verify(capsys, made, "--strict", inputs=False).found["failed"] is True


def test_tensors_are_summed_up_unless_all_are_asked_for(made, capsys):
    arguments = ["verify", made.output, "--suspect", made.suspect, "--pretrained", made.base]
    status, out, _ = run(capsys, arguments)
    assert status == 0 and f"mixed tensors: {TENSORS} of {TENSORS}" in out and "mixed tensor:" not in out
    moved = verify(capsys, made).found["moved"]
    assert f"vouched for by the publisher alone. It moved them by {100 * moved:.1f} %" in out
    _, out, _ = run(capsys, [*arguments, "--all"])
    assert out.count("mixed tensor: ") == TENSORS and "mixed tensors:" not in out


# Files that differ


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("where", ["first", "middle"])
def test_flipped_bit_of_an_output_is_found(place, capsys, name, where):
    flip(place.output / name, where)
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different", "output")) == (1, {name})
    assert answer.items("same", "output") == set(OUTPUTS) - {name}
    assert len(answer.items("same", "mixed tensor")) == TENSORS
    # It cannot be computed where the weights cannot be loaded.
    if name not in ("config.json", "model.safetensors"):
        assert answer.found["moved"] > 0
    elif (name, where) == ("model.safetensors", "first"):
        assert answer.found["moved"] is None


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("part", ["suspect", "pretrained"])
def test_flipped_bit_of_an_input_is_found(place, capsys, part, name, where):
    folder = {"suspect": place.suspect, "pretrained": place.base}[part]
    flip(folder / name, where)
    answer = verify(capsys, place)
    if answer.status == 2:
        # So broken that there is nothing to compute.
        assert f"'{folder}'" in answer.error and (name, where) != ("model.safetensors", "last")
        return
    assert (answer.status, answer.items("different", part)) == (1, {name})
    assert answer.items("same", part) == set(INPUTS) - {name}
    assert len(answer.items("same", "suspect") | answer.items("same", "pretrained")) == len(INPUTS)


@pytest.mark.parametrize("name", OUTPUTS)
def test_missing_output_is_named(place, capsys, name):
    (place.output / name).unlink()
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different", "output")) == (1, {name})
    assert answer.note("output", name) == "missing"


def test_added_file_counts_if_it_would_be_loaded(place, capsys):
    loaded = {"added_tokens.json", "adapter_config.json", "pytorch_model.bin", "modeling.py", "vocab.txt"}
    loaded |= {"model.safetensors.index.json", "model-00001-of-00002.safetensors", "additional_chat_templates/a.jinja"}
    for name in (*loaded, "LICENSE", "figures/frontier.png", "onnx/model.safetensors", ".gitattributes"):
        (place.output / name).parent.mkdir(exist_ok=True)
        (place.output / name).write_bytes(b"{}")
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different", "output")) == (1, set(loaded))
    assert all(answer.note("output", name).startswith("not in the manifest") for name in loaded)
    assert answer.items("same", "output") == set(OUTPUTS)


def test_card_belongs_to_its_owner_outside_of_the_generated_part(place, capsys):
    path = place.output / "README.md"
    path.write_text(path.read_text().replace("---", "---\nlicense: mit", 1) + "\n## Thanks\n\nTo all.\n")
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different")) == (0, set())
    assert "owner's own parts" in answer.note("output", "README.md")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Not evaluated", "Evaluated"),
        ("library_name: transformers", "library_name: other"),
        ("library_name: transformers", "library_name: {2020-01-01: other}"),
        ("<!-- hf-finemix: end", "<!-- end"),
        ("---\n", "---\n- ]["),
    ],
)
def test_generated_part_of_the_card_is_compared(place, capsys, old, new):
    path = place.output / "README.md"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different", "output")) == (1, {"README.md"})
