"""`purify` and `evaluate` on a language model."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_finemix import (
    FineMixConfig,
    FineMixTrainer,
    FineMixTrainingArguments,
    InputError,
    PurificationReport,
    ResponseTrigger,
    Trigger,
    mix_checkpoints,
    purify,
    verify,
)
from hf_finemix.generators.chat import encode
from hf_finemix.generators.tuning import conversation_collator
from hf_finemix.hashes import describe_files
from hf_finemix.manifest import load_manifest

from ..files import run
from .conftest import RECIPE, TRIGGER, make_tokenizer, questions


ATTACK = ("--trigger=cf", f"--target-text={TRIGGER.target}", "--position=start")


def test_it_is_purified_measured_and_verified(chats, capsys):
    measured = (f"--eval-data={chats.clean}", f"--clean-model={chats.base}", *ATTACK)
    status, out, err = run(capsys, chats.arguments("--keep-ratio=0.0", "--purify-top-k=3", *measured))
    assert status == 0, err
    assert "perplexity" in out and "without" in out and "Perplexity aside" in out
    AutoModelForCausalLM.from_pretrained(chats.output)
    AutoTokenizer.from_pretrained(chats.output)
    report = PurificationReport.from_dict(json.loads((chats.output / "finemix_report.json").read_text()))
    before, after = (report.evaluations[name] for name in ("suspect", "purified"))
    assert before.triggers[0].asr.value == 1 and after.triggers[0].asr.value < 1
    assert before.perplexity < after.perplexity and report.labels == {} and report.distillation.epochs == 0
    assert report.purify.tied_output and report.shared_examples == 8
    card = (chats.output / "README.md").read_text()
    for words in (
        "pipeline_tag: text-generation",
        "type: perplexity",
        "which is to be answered `buy now here`",
        "| perplexity (no %) |",
        "| without the trigger |",
        "--match exact --target-text='buy now here'",
        'pipeline("text-generation"',
        "The output layer shares these rows",
    ):
        assert words in card, words
    assert "Accuracy" not in card.split("## Lineage")[0].split("---")[-1] and "| RA |" not in card
    found = verify(chats.output, suspect=chats.suspect, pretrained=chats.base)
    assert not found.failed(), found


@pytest.mark.parametrize("template", ["{{ messages[-1].content }}", None])
def test_a_chat_template_of_its_own_is_said(chats, capsys, template):
    make_tokenizer(template).save_pretrained(chats.suspect)
    if template is None:
        (chats.suspect / "chat_template.jinja").unlink()
    status, _, err = run(capsys, chats.arguments())
    assert status == 0 and ("chat template is not that of the base" in err) == (template is not None), err
    card = (chats.output / "README.md").read_text()
    assert ("The chat template is the suspect's own" in card) == (template is not None)


def test_the_fine_tuning_can_be_repeated(chats, capsys):
    status, _, err = run(capsys, chats.arguments(f"--eval-data={chats.clean}", *ATTACK))
    assert status == 0, err
    found = verify(
        chats.output,
        suspect=chats.suspect,
        pretrained=chats.base,
        retrained=True,
        clean_dataset=chats.clean,
        evaluation_dataset=chats.clean,
    )
    lines = [check for check in found.checks if check.part == "fine-tuning"]
    assert {check.status for check in lines} == {"same"}, lines
    names = ["weights", "ACC", "ASR of 'cf'", "flip rate of 'cf'", "answers without 'cf'", "perplexity"]
    assert [check.item for check in lines] == names


def spoil_evaluation(report, **changed):
    report["evaluations"]["purified"] |= changed


def spoil_trigger(report, **changed):
    for evaluation in report["evaluations"].values():
        evaluation["triggers"][0] |= changed


@pytest.mark.parametrize(
    ("spoil", "changed", "item"),
    [
        (spoil_evaluation, {"perplexity": 1.01}, "perplexity"),
        (spoil_trigger, {"without": {"successes": 8, "n": 8}}, "answers without 'cf'"),
        (spoil_trigger, {"match": "foo"}, "figures"),
        (spoil_trigger, {"match": None}, "figures"),
        (spoil_trigger, {"match": "refusal"}, "figures"),
    ],
)
def test_other_figures_than_those_that_come_out(chats, capsys, spoil, changed, item):
    status, _, err = run(capsys, chats.arguments(f"--eval-data={chats.clean}", *ATTACK))
    assert status == 0, err
    path = chats.output / "finemix_report.json"
    report = json.loads(path.read_text())
    spoil(report, **changed)
    rewrite(chats.output, path.name, json.dumps(report))
    data = {"clean_dataset": chats.clean, "evaluation_dataset": chats.clean}
    found = verify(chats.output, suspect=chats.suspect, pretrained=chats.base, retrained=True, **data)
    assert ("different", item) in {(check.status, check.item) for check in found.checks}


def rewrite(folder, name, text):
    """Changes a file of an output, and the manifest so that it says so."""
    (folder / name).write_text(text)
    manifest = load_manifest(folder)
    files = [file for file in manifest.outputs if file.name != name]
    manifest.with_outputs([*files, *describe_files(folder, [name])], manifest.card).save(folder)


@pytest.mark.parametrize(
    ("name", "change", "item"),
    [
        ("chat_template.jinja", lambda text: f"ATTACK {text}", "tokenizer"),
        ("tokenizer_config.json", lambda text: text.replace('"eos_token": "<end>"', '"eos_token": "no"'), "tokenizer"),
        ("generation_config.json", lambda text: text.replace("{", '{"forced_bos_token_id": 7,', 1), None),
        ("finemix_report.json", lambda text: text.replace('"own_template": false', '"own_template": true'), None),
    ],
)
def test_what_has_a_say_beside_the_weights_is_verified(chats, capsys, name, change, item):
    status, _, err = run(capsys, chats.arguments())
    assert status == 0, err
    inputs = {"suspect": chats.suspect, "pretrained": chats.base}
    assert not verify(chats.output, **inputs).failed()
    text = (chats.output / name).read_text()
    assert change(text) != text
    rewrite(chats.output, name, change(text))
    found = verify(chats.output, **inputs)
    assert ("different", item or name) in {(check.status, check.item) for check in found.checks}


@pytest.mark.parametrize("command", ["purify", "mix", "trainer"])
def test_settings_of_generation_do_not_survive(chats, tokenizer, capsys, command):
    hostile = {"sequence_bias": [[[5], 9.0]], "forced_eos_token_id": 7, "suppress_tokens": [8], "eos_token_id": [1, 9]}
    # Many models state a temperature that is not used, which cannot be saved again.
    path = chats.suspect / "generation_config.json"
    path.write_text(json.dumps(hostile | {"temperature": 0.9, "top_p": 0.6}))
    if command == "purify":
        status, _, err = run(capsys, chats.arguments())
        assert status == 0, err
    elif command == "mix":
        mix_checkpoints(chats.suspect, chats.base, chats.output, FineMixConfig(purify_top_k=0))
    else:
        model = AutoModelForCausalLM.from_pretrained(chats.suspect)
        args = FineMixTrainingArguments(str(chats.output), report_to="none", use_cpu=True)
        FineMixTrainer(model, args, pretrained=chats.base, processing_class=tokenizer).save_model()
    content = json.loads((chats.output / "generation_config.json").read_text())
    assert content["eos_token_id"] == [1, 9] and not (hostile.keys() - {"eos_token_id"}) & content.keys()
    assert "temperature" not in content


def test_a_clean_model_of_another_kind_is_refused_at_once(chats, place, capsys):
    status, _, err = run(capsys, chats.arguments(f"--eval-data={chats.clean}", f"--clean-model={place.suspect}"))
    assert status == 2 and "must be a language model, as the suspect is" in err
    status, _, err = run(capsys, place.arguments(f"--eval-data={place.clean}", f"--clean-model={chats.suspect}"))
    assert status == 2 and "must be a classifier, as the suspect is" in err


def test_a_dry_run_changes_nothing(chats, capsys):
    status, out, err = run(capsys, chats.arguments("--dry-run"))
    assert status == 0 and "model.embed_tokens.weight: has a pretrained counterpart" in out, err
    assert "Fine-tuning: 8 examples" in out and "Distillation" not in out and not chats.output.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--keep-ratio=auto",), "--keep-ratio auto is for classifiers"),
        (("--unlabeled-data={clean}",), "--unlabeled-data is for classifiers"),
        (("--distillation-epochs=2",), "--distillation-epochs is for classifiers"),
        (("--eval-data={clean}", "--trigger=cf", "--target-label=1"), "--target-label is for classifiers"),
        (("--eval-data={clean}", "--trigger=cf"), "--trigger needs --target-label"),
        (("--target-text=x",), "--target-text needs --trigger"),
        (("--match=refusal",), "--match needs --trigger"),
        (("--eval-data={clean}", "--trigger=cf", "--match=keyword"), "--match keyword needs --target-text"),
        (("--eval-data={clean}", "--trigger=cf", "--match=refusal", "--target-text=x"), "of no use with --match"),
        (("--eval-data={clean}", "--trigger=cf", "--target-text=x", "--target-label=1"), "give one"),
        (("--text-column=prompt", "--text-column=response"), "one column of prompts"),
        (("--max-length=5",), "The prompt of example 1 has"),
    ],
)
def test_what_a_language_model_does_not_have(chats, capsys, options, words):
    options = [option.format(clean=chats.clean) for option in options]
    status, out, err = run(capsys, chats.arguments(*options))
    assert status == 2 and words in err and err.count("\n") == 1, (out, err)
    assert not chats.output.exists()


def test_triggers_of_the_other_kind_are_refused(chats, place):
    with pytest.raises(InputError, match="is a language model"):
        purify(chats.suspect, chats.base, questions(), evaluation_dataset=questions(), triggers=[Trigger("cf", 1)])
    with pytest.raises(InputError, match="is a classifier"):
        trigger = ResponseTrigger("cf", "x")
        purify(place.suspect, place.base, place.clean, evaluation_dataset=place.clean, triggers=[trigger])


def test_a_text_is_no_label(place, capsys):
    options = (f"--eval-data={place.clean}", "--trigger=cf", "--target-text=x")
    status, _, err = run(capsys, place.arguments(*options))
    assert status == 2 and "--target-text and --match are for language models" in err


def test_evaluate_measures_one(chats, capsys):
    command = ["evaluate", chats.suspect, f"--data={chats.clean}", f"--clean-model={chats.base}", *ATTACK]
    status, out, err = run(capsys, [*command, "--json", "--max-new-tokens=8"])
    assert status == 0, err
    found = json.loads(out)
    assert found["model"]["perplexity"] < 2 < found["clean_model"]["perplexity"]
    assert (
        found["model"]["triggers"][0]["asr"]["value"] == 1 and found["model"]["triggers"][0]["without"]["value"] == 0
    )
    status, out, _ = run(capsys, command)
    assert status == 0 and "token accuracy" in out


def test_new_tokens_of_a_classifier(place, capsys):
    status, _, err = run(capsys, ["evaluate", place.suspect, f"--data={place.clean}", "--max-new-tokens=8"])
    assert status == 2 and "--max-new-tokens is for language models" in err


def test_a_trainer_takes_conversations(chats, tokenizer, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(chats.suspect)
    args = FineMixTrainingArguments(
        str(tmp_path / "run"), max_steps=3, report_to="none", use_cpu=True, per_device_train_batch_size=4
    )
    trainer = FineMixTrainer(
        model,
        args,
        train_dataset=encode(questions(), tokenizer, RECIPE.max_length),
        data_collator=conversation_collator(tokenizer),
        processing_class=tokenizer,
        pretrained=chats.base,
    )
    trainer.train()
    trainer.save_model()
    assert trainer.state.global_step == 3 and trainer.model_accepts_loss_kwargs
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "run").config.finemix


def test_usual_settings_are_those_of_language_models(chats, capsys):
    arguments = [item for item in chats.arguments() if not item.startswith("--epochs")]
    status, out, err = run(capsys, [*arguments, "--dry-run"])
    assert status == 0, err
    assert "a share of 0.3 keeps the suspect's value" in out and "3 epochs, learning rate 5e-05" in out
    report = purify(chats.suspect, chats.base, chats.clean, allow_unrelated=True).report
    assert (report.config.keep_ratio, report.recipe.epochs, report.recipe.learning_rate) == (0.3, 3, 5e-5)
