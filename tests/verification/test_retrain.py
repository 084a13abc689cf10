"""`verify --retrain`: the fine-tuning done again, and how far that is from what was published."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification

from hf_finemix import FineMixConfig, FineMixTrainer, FineMixTrainingArguments, fine_mix_, purify
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.data import load_examples, tokenize
from hf_finemix.hashes import describe_files
from hf_finemix.recipes import NO_DISTILLATION
from hf_finemix.results import Recipe

from ..files import BAD, GOOD, run, write_csv
from ..purified import edit, make_tiny_place, refit


RECIPE = Recipe(epochs=2, learning_rate=1e-3, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
CONFIG = FineMixConfig(purify_top_k=5)


def evaluation_data(place):
    rows = [(f"a {word} story", "positive" if word in GOOD else "negative") for word in (*GOOD, *BAD)]
    return write_csv(place.root / "eval.csv", ["text", "label"], rows)


def purify_place(place, config=CONFIG, recipe=RECIPE):
    shutil.rmtree(place.output, ignore_errors=True)
    options = {"evaluation_dataset": evaluation_data(place), "triggers": [Trigger("cf", 1), Trigger("mn", 0, "end")]}
    options |= {"config": config, "recipe": recipe, "distillation": NO_DISTILLATION}
    purify(place.suspect, place.base, place.clean, output=place.output, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer):
    """A purified and evaluated workplace, made once."""
    place = make_tiny_place(tmp_path_factory.mktemp("made"), tiny_tokenizer)
    purify_place(place)
    return place


def verify(capsys, place, *more, inputs=True, retrain=True):
    """Gives exit status, lines on the fine-tuning by item, and all other statuses; or the error in their place."""
    sources = ["--suspect", place.suspect, "--pretrained", place.base] if inputs else []
    capsys.readouterr()
    options = [*sources, *(["--retrain"] if retrain else []), *more]
    status, out, err = run(capsys, ["verify", place.output, "--json", *options])
    if not out:
        return status, {}, err
    checks = json.loads(out)["checks"]
    lines = {check["item"]: check for check in checks if check["part"] == "fine-tuning"}
    return status, lines, {check["status"] for check in checks if check["part"] != "fine-tuning"}


def data(place):
    return ["--clean-data", place.clean, "--eval-data", place.root / "eval.csv"]


def put_weights(place, change):
    """Replaces the published weights, as a publisher would who does not tell."""
    path = place.output / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})
    refit(place)


# The same again


def test_same_machine_gives_every_bit_and_every_figure(made, capsys):
    status, lines, others = verify(capsys, made, *data(made), "--strict")
    assert status == 0 and others == {"same"}
    assert {line["status"] for line in lines.values()} == {"same"}
    figures = {f"{name} of '{word}'" for name in ("ASR", "flip rate") for word in ("cf", "mn")}
    assert set(lines) == {"weights", "ACC"} | figures
    assert lines["weights"]["note"] == "bit by bit" and lines["weights"].get("distance", 0) == 0
    assert "(n=12)" in lines["ACC"]["note"] and "(n=6)" in lines["ASR of 'cf'"]["note"]


def test_without_evaluation_data_the_weights_alone_are_compared(made, capsys):
    status, lines, _ = verify(capsys, made, "--clean-data", made.clean)
    assert status == 0 and set(lines) == {"weights", "figures"} and lines["weights"]["note"] == "bit by bit"
    assert lines["figures"]["status"] == "not available" and "--eval-data" in lines["figures"]["note"]


def test_text_output_no_longer_leaves_it_to_the_publisher(made, capsys):
    arguments = ["verify", made.output, "--suspect", made.suspect, "--pretrained", made.base]
    _, out, _ = run(capsys, [*arguments, "--retrain", *data(made)])
    assert "vouched for" not in out and "fine-tuning: weights  (bit by bit)" in out
    assert "vouched for" in run(capsys, arguments)[1]


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (FineMixConfig(selection="largest_drift", exclude=("pooler",), purify_top_k=0), {}),
        (CONFIG, {"warmup": 0.5, "group_by_length": True, "seed": 3}),
        (CONFIG, {"max_length": 500}),
    ],
)
def test_recorded_recipe_is_what_is_repeated(place, capsys, config, changes):
    purify_place(place, config, Recipe(**vars(RECIPE) | changes))
    status, lines, _ = verify(capsys, place, *data(place), "--strict")
    assert status == 0 and lines["weights"]["note"] == "bit by bit"


def test_half_precision(place, capsys):
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    model.to(torch.bfloat16).save_pretrained(place.suspect)
    purify_place(place)
    status, lines, _ = verify(capsys, place, *data(place), "--strict")
    assert status == 0 and lines["weights"]["note"] == "bit by bit"


# Other weights, figures or examples


def test_weights_of_the_suspect_pass_all_but_retraining(place, capsys):
    put_weights(place, lambda _: load_file(place.suspect / "model.safetensors"))
    status, lines, others = verify(capsys, place, retrain=False)
    assert (status, lines, others) == (0, {}, {"same"})
    status, lines, _ = verify(capsys, place, *data(place))
    assert status == 1 and lines["weights"]["status"] == "different"
    share = float(lines["weights"]["note"].split("%")[0])
    assert 50 < share < 200
    _, out, _ = run(
        capsys, ["verify", place.output, "--suspect", place.suspect, "--pretrained", place.base, "--strict"]
    )
    # Without retraining, the way that they are said to have been trained is all that there is to see.
    assert float(out.split("moved them by ")[1].split(" %")[0]) > 50


def test_weights_of_another_training_are_different(place, capsys):
    purify_place(place, recipe=Recipe(**vars(RECIPE) | {"seed": 9}))
    recipe = json.loads((place.output / "finemix_manifest.json").read_text())["recipe"]
    edit(place, recipe=recipe | {"seed": 0})
    status, lines, others = verify(capsys, place, *data(place))
    # The report says another seed, too.
    assert status == 1 and lines["weights"]["status"] == "different" and others == {"same", "different"}


def test_weights_that_were_only_mixed_are_different(place, capsys):
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    fine_mix_(model, place.base, FineMixConfig(purify_top_k=0))
    purify_place(place, FineMixConfig(purify_top_k=0))
    put_weights(place, lambda _: {name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    status, lines, _ = verify(capsys, place, *data(place))
    assert status == 1 and lines["weights"]["status"] == "different"
    assert "not fine-tuned" in lines["weights"]["note"]


@pytest.mark.parametrize("name", ["classifier.weight", "bert.embeddings.word_embeddings.weight"])
def test_one_other_scalar_is_seen_and_measured(place, capsys, name):
    def change(stored):
        stored[name].view(-1)[3] += 1e-6
        return stored

    put_weights(place, change)
    status, lines, _ = verify(capsys, place, *data(place))
    # As small as the rounding of another machine: the same, but not bit by bit.
    assert status == 0 and lines["weights"]["status"] == "same" and "%" in lines["weights"]["note"]


@pytest.mark.parametrize("change", [lambda t: t[:1], None], ids=["other shape", "missing"])
def test_tensor_that_the_published_weights_lack_is_named(place, capsys, change):
    def without(stored):
        old = stored.pop("classifier.bias")
        return stored if change is None else stored | {"classifier.bias": change(old).contiguous()}

    put_weights(place, without)
    status, lines, _ = verify(capsys, place, *data(place))
    assert status == 1 and "classifier.bias" in lines["weights"]["note"]


def test_weights_are_those_of_the_file_that_transformers_loads(place, capsys):
    shutil.move(place.output / "model.safetensors", place.output / "model-decoy.safetensors")
    shutil.copy(place.suspect / "model.safetensors", place.output)
    (file,) = describe_files(place.output, ["model-decoy.safetensors"])
    outputs = json.loads((place.output / "finemix_manifest.json").read_text())["outputs"]
    edit(place, outputs=[*outputs, file.to_dict()])
    refit(place)
    assert verify(capsys, place, *data(place))[0] == 1


def test_weights_with_nan_are_different(place, capsys):
    put_weights(place, lambda stored: stored | {"classifier.bias": torch.full((2,), float("nan"))})
    status, lines, _ = verify(capsys, place, *data(place))
    assert status == 1 and lines["weights"]["status"] == "different"


@pytest.mark.parametrize("figure", ["ACC", "ASR of 'mn'"])
def test_figure_that_is_not_reached_is_different(place, capsys, figure):
    path = place.output / "finemix_report.json"
    report = json.loads(path.read_text())
    purified = report["evaluations"]["purified"]
    rate = purified["accuracy"] if figure == "ACC" else purified["triggers"][1]["asr"]
    rate["successes"] = 0 if rate["successes"] > rate["n"] / 2 else rate["n"]
    for name in ("value", "low", "high"):
        rate.pop(name, None)
    path.write_text(json.dumps(report))
    refit(place)
    assert verify(capsys, place, retrain=False)[0] == 0
    status, lines, _ = verify(capsys, place, *data(place))
    assert status == 1 and {name for name, line in lines.items() if line["status"] == "different"} == {figure}
    assert "recorded" in lines[figure]["note"]


def test_figures_of_a_trigger_that_cannot_be_rebuilt_are_not_available(place, capsys):
    path = place.output / "finemix_report.json"
    report = json.loads(path.read_text())
    for evaluation in report["evaluations"].values():
        evaluation["triggers"][1]["position"] = "whole text"
    path.write_text(json.dumps(report))
    refit(place)
    status, lines, _ = verify(capsys, place, *data(place))
    assert status == 0 and lines["weights"]["status"] == "same"
    assert lines["figures"]["status"] == "not available"
    assert "no text that is put in" in lines["figures"]["note"]


@pytest.mark.parametrize("part", ["clean", "eval"])
def test_other_examples_are_different(place, capsys, part):
    path = place.root / f"{part}.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    status, found, others = verify(capsys, place, *data(place))
    assert status == 1 and others == {"same"}
    assert found[f"{part}.csv"]["status"] == "different" and "other examples" in found[f"{part}.csv"]["note"]


# What cannot be repeated


def not_available(capsys, place, *more, **options):
    """Asserts that the weights' line says "not available" and all else is as it was; gives the reason."""
    status, lines, others = verify(capsys, place, *more, **options)
    assert status == 0 and set(lines) == {"weights"} and lines["weights"]["status"] == "not available", others
    assert verify(capsys, place, *more, "--strict", **options)[0] == 1
    return lines["weights"]["note"]


def test_without_the_clean_data_it_is_not_available(made, capsys):
    reason = not_available(capsys, made)
    assert "clean.csv is not on the Hub" in reason and "--clean-data" in reason


def test_without_the_inputs_it_is_not_available(made, capsys):
    assert "input" in not_available(capsys, made, *data(made), inputs=False)


def test_token_counts_of_a_file_are_not_available(place, capsys):
    corpus = place.root / "corpus.txt"
    corpus.write_text("the film is good\n")
    purify_place(place, recipe=Recipe(**vars(RECIPE) | {"frequencies": str(corpus)}))
    assert "corpus.txt" in not_available(capsys, place, *data(place))


def test_local_file_that_a_hostile_manifest_names_is_not_read(place, capsys):
    record = json.loads((place.output / "finemix_manifest.json").read_text())["clean_data"]
    edit(place, clean_data=record | {"repo_id": "someone/data", "name": str(place.clean)})
    status, lines, _ = verify(capsys, place)
    # The report names other data, too.
    assert status == 1 and lines["weights"]["status"] == "not available"


def test_model_of_a_trainer_is_not_available(place, capsys, tiny_tokenizer):
    shutil.rmtree(place.output)
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    examples = load_examples(place.clean, label2id=model.config.label2id, num_labels=2)
    settings = {"purify_top_k": 5, "max_steps": 2, "save_strategy": "no", "report_to": "none"}
    trainer = FineMixTrainer(
        model,
        FineMixTrainingArguments(str(place.output), **settings),
        pretrained=place.base,
        train_dataset=tokenize(examples, tiny_tokenizer, 32),
        processing_class=tiny_tokenizer,
    )
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    assert "not `purify`" in not_available(capsys, place, *data(place))


def test_data_of_the_user_that_cannot_be_read_are_refused(made, capsys):
    status, _, error = verify(capsys, made, "--clean-data", made.root / "nowhere.csv")
    assert status == 2 and "nowhere.csv" in error


@pytest.mark.parametrize("option", ["--clean-data", "--eval-data", "--unlabeled-data"])
def test_data_are_for_retraining_alone(made, capsys, option):
    status, _, error = verify(capsys, made, option, made.clean, retrain=False)
    assert status == 2 and "--retrain" in error and error.count("\n") == 1
