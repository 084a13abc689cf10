"""`verify` on folders: what it compares and names, and that a hostile manifest does not get past it."""

import json
import shutil
from dataclasses import dataclass, fields

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from hf_finemix import FineMixConfig, FineMixTrainer, FineMixTrainingArguments, purify
from hf_finemix.data import load_examples, tokenize
from hf_finemix.hashes import describe_files, describe_tensors
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.manifest import load_manifest
from hf_finemix.recompute import load_pair, mix_again
from hf_finemix.results import Recipe
from hf_finemix.verification import Verification

from .files import Workplace, change_config, make_workplace, run
from .models import make


RECIPE = Recipe(epochs=1, learning_rate=1e-4, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
CONFIG = FineMixConfig(purify_top_k=5)
INPUTS = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
OUTPUTS = ("README.md", "finemix_report.json", *INPUTS)
TENSORS = 23


@dataclass
class Answer:
    """What the command answered: exit status, JSON object and standard error."""

    status: int
    found: dict
    error: str

    def items(self, status, part=None):
        """Items of the lines of a status, by part where none is given."""
        checks = [check for check in self.found["checks"] if check["status"] == status]
        if part is None:
            return {(check["part"], check["item"]) for check in checks}
        return {check["item"] for check in checks if check["part"] == part}

    def note(self, part, item):
        """The note of a line."""
        return {(check["part"], check["item"]): check["note"] for check in self.found["checks"]}[part, item]


def verify(capsys, place, *more, inputs=True):
    """Verifies the output of a workplace, with its inputs by folder."""
    sources = ["--suspect", place.suspect, "--pretrained", place.base] if inputs else []
    capsys.readouterr()
    status, out, err = run(capsys, ["verify", place.output, "--json", *sources, *more])
    # One JSON object or one line of what is wrong.
    assert (bool(out), err.count("\n")) in ((True, 0), (False, 1)) and "Traceback" not in err, err
    return Answer(status, json.loads(out) if out else {"checks": []}, err)


def edit(place, **values):
    """Changes fields of the manifest."""
    path = place.output / "finemix_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_report(place, **values):
    """Changes fields of the report, and its entry in the manifest."""
    path = place.output / "finemix_report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    refit(place)


def refit(place, *more, **values):
    """Changes fields of the manifest, and makes its list of outputs fit the files that are there."""
    names = {file.name for file in load_manifest(place.output).outputs} | set(more)
    edit(place, outputs=[file.to_dict() for file in describe_files(place.output, names)], **values)


def remix(place, **values):
    """Changes fields of the manifest, and puts the tensors into it that they give."""
    edit(place, **values)
    manifest = load_manifest(place.output)
    suspect, base = (resolve_checkpoint(folder, "a folder") for folder in (place.suspect, place.base))
    pair = load_pair(suspect, base, manifest.architecture, manifest.mixed_tensors)
    names = [record.name for record in manifest.mixed_tensors]
    again = mix_again(*pair, manifest.config, names, manifest.embedding, manifest.purified_rows)
    edit(place, mixed_tensors=[record.to_dict() for record in describe_tensors(list(again))])


def fill(place, name, value):
    """Puts a value into all of a tensor of the output."""
    path = place.output / "model.safetensors"
    stored = load_file(path)
    save_file(stored | {name: torch.full_like(stored[name], value)}, path, {"format": "pt"})


def flip(path, where):
    content = bytearray(path.read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[where]] ^= 1
    path.write_bytes(content)


def purify_place(place, config=CONFIG):
    purify(place.suspect, place.base, place.clean, output=place.output, config=config, recipe=RECIPE)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer):
    """A purified workplace, made once."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(tiny_tokenizer), max_position_embeddings=64, **sizes)
    model = make(BertForSequenceClassification, config)
    place = make_workplace(tmp_path_factory.mktemp("made"), model, tiny_tokenizer)
    purify_place(place)
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of it to spoil."""
    root = shutil.copytree(made.root, tmp_path / "place")
    return Workplace(root, root / "suspect", root / "base", root / "clean.csv")


@pytest.fixture
def untrained(place, tiny_tokenizer):
    """The same, with an output that was mixed but not trained."""
    shutil.rmtree(place.output)
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    arguments = FineMixTrainingArguments(str(place.output), purify_top_k=5, max_steps=1, report_to="none")
    examples = load_examples(place.clean, label2id=model.config.label2id, num_labels=2)
    options = {"train_dataset": tokenize(examples, tiny_tokenizer, 32), "processing_class": tiny_tokenizer}
    trainer = FineMixTrainer(model, arguments, pretrained=place.base, **options)
    trainer.save_model()
    trainer.create_model_card()
    return place


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


# Hostile manifests


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
