"""`purify()`: the whole job from Python, and what its output folder promises."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from hf_finemix import FineMixConfig, InputError, fine_mix_, purify
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.data import load_examples
from hf_finemix.evaluation import evaluate_model
from hf_finemix.job import prepare, rows_to_reset
from hf_finemix.pipeline import run
from hf_finemix.recipes import DEFAULT_CONFIG, NO_DISTILLATION
from hf_finemix.results import PurificationReport, Recipe

from .files import SHORT, change_config


RECIPE = Recipe(epochs=1, learning_rate=1e-4, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
PLAIN = {"recipe": RECIPE, "distillation": NO_DISTILLATION}

# What a user without this package runs; importing it is made to fail.
LOAD_ALONE = """
import json, sys
sys.modules["hf_finemix"] = None
from transformers import pipeline
classify = pipeline("text-classification", model=sys.argv[1])
texts = json.load(open(sys.argv[2]))
print(json.dumps([answer["label"] for answer in classify(texts)]))
"""


@pytest.fixture
def purified(workplace):
    triggers = [Trigger("cf", 1, "start")]
    options = {"recipe": RECIPE, "distillation": SHORT, "evaluation_dataset": workplace.clean, "triggers": triggers}
    return purify(workplace.suspect, workplace.base, workplace.clean, output=workplace.output, **options)


def test_folder_loads_without_this_package_and_gives_the_reported_accuracy(workplace, purified):
    examples = load_examples(workplace.clean, label2id=purified.model.config.label2id, num_labels=2)
    texts = workplace.root / "texts.json"
    texts.write_text(json.dumps(list(examples["text"])))
    command = [sys.executable, "-c", LOAD_ALONE, str(workplace.output), str(texts)]
    answers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    names = purified.model.config.id2label
    right = sum(answer == names[label] for answer, label in zip(answers, examples["label"], strict=True))
    assert right == purified.report.evaluations["purified"].accuracy.successes


def test_folder_keeps_the_architecture(workplace, purified):
    config = json.loads((workplace.output / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["finemix"]["keep_ratio"] == DEFAULT_CONFIG.keep_ratio


def test_folder_has_the_model_of_the_result(workplace, purified):
    loaded = AutoModelForSequenceClassification.from_pretrained(workplace.output)
    for name, tensor in purified.model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_nothing_names_a_path_of_this_machine(workplace, purified):
    for path in workplace.output.iterdir():
        if path.suffix in (".json", ".md"):
            assert str(workplace.root) not in path.read_text(), path.name


def test_folder_can_be_read_by_others(workplace, purified):
    ordinary = workplace.clean.stat().st_mode
    assert {path.stat().st_mode for path in workplace.output.iterdir()} == {ordinary}


def test_folder_keeps_the_settings_of_the_suspect(workplace, purified):
    before, after = (
        json.loads((folder / "config.json").read_text()) for folder in (workplace.suspect, workplace.output)
    )
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"finemix", "problem_type", "use_cache"} and after.get("use_cache") == before.get("use_cache")


def test_same_inputs_give_the_same_report_card_and_manifest(workplace):
    for parent in ("a", "b"):
        options = {"evaluation_dataset": workplace.clean, "triggers": [Trigger("cf", 1)]}
        options |= {"recipe": RECIPE, "distillation": SHORT}
        purify(workplace.suspect, workplace.base, workplace.clean, output=workplace.root / parent / "out", **options)
    for path in (workplace.root / "a" / "out").iterdir():
        assert path.read_bytes() == (workplace.root / "b" / "out" / path.name).read_bytes(), path.name


def test_manifest_lists_files_in_folders_of_the_tokenizer(workplace):
    job = prepare(workplace.suspect, workplace.base, workplace.clean, output=workplace.output)
    job.tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}
    run(job, **PLAIN)
    names = {file["name"] for file in json.loads((workplace.output / "finemix_manifest.json").read_text())["outputs"]}
    assert "additional_chat_templates/tool_use.jinja" in names


def test_examples_that_were_trained_on_are_counted_in_the_card(workplace, purified):
    assert purified.report.shared_examples == 12
    assert "12 of them were trained on, too" in (workplace.output / "README.md").read_text()
    other = workplace.root / "other.csv"
    lines = workplace.clean.read_text().splitlines()
    other.write_text("\n".join([*lines[:3], "a film,positive", "a plot,negative"]) + "\n")
    result = purify(workplace.suspect, workplace.base, workplace.clean, **PLAIN, evaluation_dataset=other)
    assert result.report.shared_examples == 2


def test_rows_to_reset_are_those_that_are_reset(workplace):
    job = prepare(workplace.suspect, workplace.base, workplace.clean, config=FineMixConfig(purify_top_k=4))
    planned = rows_to_reset(job, RECIPE)
    assert len(planned) == 4 and run(job, **PLAIN).report.purify.tokens == planned


def test_report_round_trip(workplace, purified):
    stored = json.loads((workplace.output / "finemix_report.json").read_text())
    assert PurificationReport.from_dict(stored) == purified.report


def test_report_is_measured(workplace, purified):
    again = evaluate_model(
        AutoModelForSequenceClassification.from_pretrained(workplace.output),
        purified.tokenizer,
        load_examples(workplace.clean, label2id=purified.model.config.label2id, num_labels=2),
        [Trigger("cf", 1, "start")],
        max_length=RECIPE.max_length,
    )
    assert again == purified.report.evaluations["purified"]


def test_manifest_hashes_are_those_of_the_files(workplace, purified):
    manifest = json.loads((workplace.output / "finemix_manifest.json").read_text())
    folders = {"suspect": workplace.suspect, "pretrained": workplace.base}
    for name, folder in folders.items():
        files = manifest["inputs"][name]["files"]
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file["name"] for file in files}
        for file in files:
            assert file["sha256"] == hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest()
    outputs = {file["name"]: file["sha256"] for file in manifest["outputs"]}
    assert set(outputs) == {path.name for path in workplace.output.iterdir()} - {"finemix_manifest.json"}
    for name, digest in outputs.items():
        assert digest == hashlib.sha256((workplace.output / name).read_bytes()).hexdigest()
    assert manifest["purified_rows"] == [token.id for token in purified.report.purify.tokens]


def test_card_has_lineage_figures_and_limits(workplace, purified):
    card = ModelCard.load(workplace.output / "README.md")
    assert card.data.library_name == "transformers"
    assert "hf-finemix" in card.data.tags
    assert card.data.base_model is None  # neither model is on the Hub
    asr = purified.report.evaluations["purified"].triggers[0].asr
    assert f"{100 * asr.value:.1f} %" in card.text
    assert "suspect" in card.text and "No defence of this kind proves" in card.text
    assert not re.search(r"\{\{|\}\}", card.text)


def test_suspect_is_left_alone(workplace):
    before = {path: path.read_bytes() for path in workplace.suspect.iterdir()}
    purify(workplace.suspect, workplace.base, workplace.clean, **PLAIN)
    assert {path: path.read_bytes() for path in workplace.suspect.iterdir()} == before


def test_data_set_object_equals_its_file(workplace):
    examples = load_examples(workplace.clean, label2id={"negative": 0, "positive": 1}, num_labels=2)
    as_file = purify(workplace.suspect, workplace.base, workplace.clean, **PLAIN)
    as_object = purify(workplace.suspect, workplace.base, Dataset.from_dict(examples.to_dict()), **PLAIN)
    for name, tensor in as_file.model.state_dict().items():
        assert torch.equal(tensor, as_object.model.state_dict()[name]), name
    assert as_file.report.clean_data.fingerprint == as_object.report.clean_data.fingerprint


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_in_its_dtype(workplace, tiny_bert, dtype):
    tiny_bert.config.id2label = {0: "negative", 1: "positive"}
    tiny_bert.config.label2id = {"negative": 0, "positive": 1}
    tiny_bert.to(dtype).save_pretrained(workplace.suspect)
    purify(workplace.suspect, workplace.base, workplace.clean, output=workplace.output, **PLAIN)
    stored = load_file(workplace.output / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {dtype}


def test_plan_is_what_is_done(workplace):
    job = prepare(workplace.suspect, workplace.base, workplace.clean)
    planned = [(record.name, record.action, record.reason) for record in job.plan.parameters]
    done = run(job, **PLAIN).report.mix
    assert [(record.name, record.action, record.reason) for record in done.parameters] == planned
    assert abs(done.kept_share - DEFAULT_CONFIG.keep_ratio) < 0.02


def test_preparing_changes_nothing(workplace):
    job = prepare(workplace.suspect, workplace.base, workplace.clean)
    stored = load_file(workplace.suspect / "model.safetensors")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in job.model.named_parameters())


def test_rows_are_reset_after_mixing(workplace):
    config = FineMixConfig(keep_ratio=1, purify_top_k=5)
    recipe = Recipe(epochs=1, learning_rate=1e-12, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
    result = purify(
        workplace.suspect, workplace.base, workplace.clean, config=config, recipe=recipe, distillation=NO_DISTILLATION
    )
    base = load_file(workplace.base / "model.safetensors")["embeddings.word_embeddings.weight"]
    embedding = result.model.get_input_embeddings().weight.detach()
    for token in result.report.purify.tokens:
        assert torch.allclose(embedding[token.id], base[token.id], atol=1e-6), token
    assert len(result.report.purify.tokens) == 5


def test_triggers_need_evaluation_data(workplace):
    with pytest.raises(InputError, match="evaluation_dataset"):
        purify(workplace.suspect, workplace.base, workplace.clean, triggers=[Trigger("cf", 1)])


def test_a_model_that_was_purified_is_refused_as_suspect(workplace, purified):
    with pytest.raises(InputError, match="mixed before"):
        purify(workplace.output, workplace.base, workplace.clean)


def test_regression_model_is_refused(workplace):
    config = json.loads((workplace.suspect / "config.json").read_text())
    (workplace.suspect / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    with pytest.raises(InputError, match="regression"):
        purify(workplace.suspect, workplace.base, workplace.clean)


def test_mixing_of_the_pipeline_is_fine_mix(workplace):
    recipe = Recipe(epochs=1, learning_rate=1e-12, batch_size=16, max_length=32, frequencies="vocabulary", seed=3)
    config = FineMixConfig(seed=3, purify_top_k=0)
    result = purify(
        workplace.suspect, workplace.base, workplace.clean, config=config, recipe=recipe, distillation=NO_DISTILLATION
    )
    model = AutoModelForSequenceClassification.from_pretrained(workplace.suspect)
    fine_mix_(model, workplace.base, config)
    for name, tensor in model.named_parameters():
        assert torch.allclose(tensor, dict(result.model.named_parameters())[name], atol=1e-6), name


# The baseline


def test_clean_model_is_measured_as_the_baseline(workplace):
    triggers = [Trigger("cf", 1, "start")]
    options = PLAIN | {"evaluation_dataset": workplace.clean, "triggers": triggers}
    # The suspect itself, whose figures are known.
    result = purify(workplace.suspect, workplace.base, workplace.clean, clean_model=workplace.suspect, **options)
    evaluations = result.report.evaluations
    assert list(evaluations) == ["suspect", "purified", "clean model"]
    assert evaluations["clean model"] == evaluations["suspect"]


def test_clean_model_needs_something_to_be_measured_on(workplace):
    with pytest.raises(InputError, match="--clean-model needs --eval-data"):
        purify(workplace.suspect, workplace.base, workplace.clean, clean_model=workplace.suspect)


def test_clean_model_with_labels_in_another_order_is_refused(workplace):
    other = shutil.copytree(workplace.suspect, workplace.root / "clean-model")
    change_config(other, id2label={"0": "positive", "1": "negative"}, label2id={"positive": 0, "negative": 1})
    with pytest.raises(InputError, match=r"has the labels \['positive', 'negative'\]"):
        purify(
            workplace.suspect,
            workplace.base,
            workplace.clean,
            evaluation_dataset=workplace.clean,
            clean_model=other,
        )
