"""A hostile manifest does not get past `verify`, and a report that says something else does not either."""

import json
import shutil

import pytest

from hf_finemix.hashes import describe_tensors
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.manifest import load_manifest
from hf_finemix.recompute import load_pair, mix_again

from ..files import change_config, run
from ..purified import edit, edit_report, refit
from .lines import fill, verify


def remix(place, **values):
    """Changes fields of the manifest, and puts the tensors into it that they give."""
    edit(place, **values)
    manifest = load_manifest(place.output)
    suspect, base = (resolve_checkpoint(folder, "a folder") for folder in (place.suspect, place.base))
    pair = load_pair(suspect, base, manifest.architecture, manifest.mixed_tensors)
    names = [record.name for record in manifest.mixed_tensors]
    again = mix_again(*pair, manifest.config, names, manifest.embedding, manifest.purified_rows)
    edit(place, mixed_tensors=[record.to_dict() for record in describe_tensors(list(again))])


def config(**values):
    return lambda manifest: manifest["config"].update(values)


def first_tensor(**values):
    return lambda manifest: manifest["mixed_tensors"][0].update(values)


def field(**values):
    return lambda manifest: manifest.update(values)


TAMPERED = {
    "seed": config(seed=1),
    "keep_ratio": config(keep_ratio=0.4),
    "keep_ratio is NaN": config(keep_ratio=float("nan")),
    "selection": config(selection="largest_drift"),
    "top_k": config(purify_top_k=4),
    "excluded tensors were mixed": config(exclude=["pooler"]),
    "exclude matches none": config(exclude=["nothing"]),
    "huge floor": config(frequency_floor=10**400),
    "row": lambda manifest: manifest["purified_rows"].__setitem__(0, min({*range(6)} - {*manifest["purified_rows"]})),
    "row twice": lambda manifest: manifest["purified_rows"].__setitem__(0, manifest["purified_rows"][1]),
    "huge rows": field(purified_rows=[10**30 + row for row in range(5)]),
    "negative rows": field(purified_rows=[-1, -2, -3, -4, -5]),
    "tensor left out": lambda manifest: manifest["mixed_tensors"].pop(3),
    "all tensors left out": field(mixed_tensors=[]),
    "unknown tensor": lambda manifest: manifest["mixed_tensors"].append(manifest["mixed_tensors"][0] | {"name": "x"}),
    "hash": first_tensor(sha256="0" * 64),
    "shape": first_tensor(shape=[1]),
    "dtype": first_tensor(dtype="float64"),
    "dtype of 8 bits": first_tensor(dtype="float8_e4m3fn"),
    "dtype is none": first_tensor(dtype="__name__"),
    "masks of another version": field(mask_version=99),
    "output twice": lambda manifest: manifest["outputs"].append(manifest["outputs"][0]),
    "no outputs": field(outputs=[]),
    "was trained": field(fine_tuned=False),
    "version": field(manifest_version=2),
    "unknown field": field(comment="none"),
    "no inputs": lambda manifest: manifest.pop("inputs"),
    "recipe": lambda manifest: manifest["recipe"].update(epochs=0),
}
for _class in ("os", "PreTrainedModel", "AutoModel", "BertForSequenceClassification.__init__", "BertModel", ""):
    TAMPERED[f"class {_class}"] = field(architecture=_class)
for _name in ("../x", "/etc/passwd", "a//b", "a\\b", "c:x", "a\x1b[2J", "", "a" * 300):
    TAMPERED[f"name {_name[:20]!a}"] = lambda manifest, name=_name: manifest["outputs"][0].update(name=name)


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_manifest_is_a_difference_or_refused(place, capsys, name):
    manifest = json.loads((place.output / "finemix_manifest.json").read_text())
    TAMPERED[name](manifest)
    (place.output / "finemix_manifest.json").write_text(json.dumps(manifest))
    answer = verify(capsys, place)
    assert answer.status in (1, 2) and (answer.items("different") or answer.error)


def test_fields_of_another_type_and_damaged_files_are_refused(place, capsys):
    path = place.output / "finemix_manifest.json"
    whole = path.read_text()
    texts = [json.dumps(json.loads(whole) | {name: [[]]}) for name in json.loads(whole)]
    texts += ["", "[]", "null", "[" * 100_000, "9" * 5000, '{"manifest_version": 1}', "\ud800", whole[:-3], whole[9:]]
    for text in texts:
        path.write_bytes(text.encode(errors="surrogatepass"))
        answer = verify(capsys, place)
        assert answer.status == 2 and "is damaged" in answer.error, text[:200]
    path.unlink()
    assert "has no finemix_manifest.json" in verify(capsys, place).error


@pytest.mark.parametrize(
    "lie",
    [
        {"purified_rows": []},
        {"purified_rows": [1, 2, 3, 4, 5]},
        {"embedding": None},
        {"embedding": "bert.embeddings.position_embeddings.weight"},
    ],
    ids=str,
)
def test_tensors_without_the_suspicious_rows_reset_are_a_difference(place, capsys, lie):
    remix(place, **lie)
    answer = verify(capsys, place)
    assert answer.status == 1 and answer.items("different") and not answer.items("different", "mixed tensor")


def test_other_head_of_a_model_that_is_said_to_be_untrained_is_a_difference(untrained, capsys):
    fill(untrained, "classifier.weight", 1.0)
    refit(untrained)
    assert verify(capsys, untrained).status == 1


@pytest.mark.parametrize("names", [["pytorch_model.bin"], ["modeling.py"], ["adapter_config.json", "a.safetensors"]])
def test_listed_file_that_no_purification_writes_is_a_difference(place, capsys, names):
    for name in names:
        (place.output / name).write_bytes(b"{}")
    refit(place, *names)
    assert verify(capsys, place).status != 0


def test_weights_are_read_from_the_file_that_transformers_loads(place, capsys):
    before = verify(capsys, place).found["moved"]
    shutil.move(place.output / "model.safetensors", place.output / "model-decoy.safetensors")
    shutil.copy(place.suspect / "model.safetensors", place.output)
    refit(place, "model-decoy.safetensors")
    answer = verify(capsys, place)
    assert answer.status != 0 or answer.found["moved"] > 10 * before


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_weights_without_a_distance_still_give_json(place, capsys, value):
    fill(place, "bert.pooler.dense.bias", value)
    refit(place)
    assert verify(capsys, place).found["moved"] is None and verify(capsys, place).items("same")


def test_control_characters_are_escaped(place, capsys):
    evil = "\x1b]0;evil\x07\x9b2J\u202e\n"
    manifest = json.loads((place.output / "finemix_manifest.json").read_text())
    manifest["mixed_tensors"][0]["name"] += evil
    manifest["inputs"]["suspect"]["name"] = evil
    manifest["embedding"] = manifest["frequencies"] = evil
    edit(place, **manifest)
    for more in (["--pretrained", place.base], ["--suspect", place.suspect, "--pretrained", place.base]):
        status, out, err = run(capsys, ["verify", place.output, "--all", *more])
        assert status == 1 and r"\x1b]0;evil\x07\x9b2J\u202e\n" in out
        assert all(line.isprintable() for line in (out + err).split("\n"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suspect", "another"),
        ("pretrained", "another"),
        ("architecture", "BertForTokenClassification"),
        ("fine_tuned", False),
        ("environment", {"torch": "0"}),
        ("clean_data", None),
        ("recipe", None),
    ],
)
def test_report_that_says_something_else_is_a_difference(place, capsys, field, value):
    edit_report(place, **{field: value})
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different")) == (1, {("report", "finemix_report.json")})


@pytest.mark.parametrize("name", ["README.md", "finemix_report.json"])
def test_card_and_report_must_be_listed(place, capsys, name):
    outputs = [file.to_dict() for file in load_manifest(place.output).outputs if file.name != name]
    edit(place, outputs=outputs)
    answer = verify(capsys, place)
    assert answer.status == 1 and name in answer.items("different", "output")


def test_swapped_labels_are_a_difference(place, capsys):
    change_config(place.output, id2label={"0": "positive", "1": "negative"}, label2id={"positive": 0, "negative": 1})
    refit(place)
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different")) == (1, {("configuration", "labels")})


def test_other_tokenizer_is_a_difference(place, capsys):
    path = place.output / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["good"], vocabulary["bad"] = vocabulary["bad"], vocabulary["good"]
    path.write_text(json.dumps(content))
    refit(place)
    answer = verify(capsys, place)
    assert (answer.status, answer.items("different")) == (1, {("configuration", "tokenizer")})


def test_what_cannot_be_computed_again_is_a_difference_and_the_rest_is_said(place, capsys):
    edit(
        place,
        config=json.loads((place.output / "finemix_manifest.json").read_text())["config"] | {"exclude": ["none"]},
    )
    answer = verify(capsys, place)
    assert answer.status == 1 and "all" in answer.items("different", "mixed tensor")
    assert answer.items("same", "output") and answer.items("same", "suspect")


def test_settings_are_printed(place, capsys):
    _, out, _ = run(capsys, ["verify", place.output])
    assert "Settings: 23 tensors mixed with keep ratio 0.3 (random), 5 embedding rows reset.\n" in out
