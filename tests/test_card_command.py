"""What a defence card gives to run: its recipe, command and script, and how to verify and load the model."""

import ast
import shlex
from dataclasses import replace

import pytest
import yaml

from hf_finemix.cli.main import build_parser
from hf_finemix.results import DataRecord

from .cards import blocks, render, section
from .reports import COMMIT, HOSTILE, make_evaluation, several


def test_recipe_block_holds_all_settings(report):
    settings = yaml.safe_load(dict(blocks(render(report)))["yaml"])
    assert settings["keep_ratio"] == 0.3 and settings["learning_rate"] == 1e-4
    assert (settings["seed"], settings["training_seed"], settings["mask_version"]) == (0, 5, 1)


def command_of(report, name="purified"):
    """The card's command, as the parser of the command line understands it."""
    text = next(content for _, content in blocks(render(report, name)) if "--recipe" in content)
    program, *arguments = shlex.split(text.replace("\\\n", ""))
    assert program == "hf-finemix"
    return build_parser().parse_args(arguments)


def test_command_repeats_the_job(report):
    columns = {"text_columns": ("premise", "hypothesis"), "label_column": "gold label"}
    evaluations = {"purified": several(10, 40)}
    args = command_of(
        replace(report, clean_data=DataRecord("my data.csv", 64, None, **columns), evaluations=evaluations)
    )
    assert (args.suspect, args.pretrained) == (f"someone/suspect@{COMMIT}", f"org/base@{COMMIT}")
    assert (args.clean_data, args.eval_data, args.recipe, args.output) == (
        "my data.csv",
        "test.csv",
        "recipe.yaml",
        "purified",
    )
    assert (args.text_column, args.label_column) == (["premise", "hypothesis"], "gold label")
    # The second trigger was tried at another position, which takes a command of its own.
    assert (args.trigger, args.target_label, args.position) == (["t0"], "1", "random")


def test_triggers_of_other_kinds_are_shown_but_are_nothing_for_the_command(report):
    shown = several(80, 70)
    words = replace(shown.triggers[0], position="random, each word by itself")
    evaluations = dict.fromkeys(("suspect", "purified"), replace(shown, triggers=(words, shown.triggers[1])))
    report = replace(report, evaluations=evaluations)
    assert "Trigger `t0` (random, each word by itself), target label 1" in section(render(report), "Figures")
    args = command_of(report)
    assert (args.trigger, args.position) == (["t1"], "start")


@pytest.mark.parametrize("trigger", ["cf", "it's", '"quoted"', "$HOME", "-cf", "--push-to-hub=someone/else"])
def test_command_keeps_the_trigger(report, trigger):
    args = command_of(replace(report, evaluations={"purified": make_evaluation(160, 23, trigger)}))
    assert args.trigger == [trigger]


@pytest.mark.parametrize("field", ["suspect", "pretrained", "clean_data", "evaluation_data", "title", "column"])
def test_names_turn_into_no_option_of_the_command(report, field):
    name = "--push-to-hub=someone/else"
    if field == "column":
        report = replace(report, clean_data=DataRecord("clean.csv", 64, None, None, (name,), name))
    elif field.endswith("data"):
        report = replace(report, **{field: DataRecord(name, 64, None)})
    elif field != "title":
        report = replace(report, **{field: name})
    assert command_of(report, name if field == "title" else "purified").push_to_hub is None


def script_of(report, maker, name):
    """The card's script: the functions that it calls and the strings that it holds."""
    card = render(replace(report, made_by=maker, recipe=None, training={"seed": 1}, suspect=name, pretrained=name))
    script = next(content for _, content in blocks(card) if "recipe.yaml" in content)
    nodes = list(ast.walk(ast.parse(script)))
    calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    return calls, [node.value for node in nodes if isinstance(node, ast.Constant)]


@pytest.mark.parametrize("name", ['x"); import os; os.system("id', "it's", "back\\slash", "a\nb", HOSTILE])
@pytest.mark.parametrize("maker", ["FineMixTrainer", "FineMixMixin"])
def test_script_calls_nothing_that_a_name_holds(report, maker, name):
    calls, strings = script_of(report, maker, name)
    assert calls == script_of(report, maker, "base")[0]
    assert name == HOSTILE or " ".join(name.split()) in strings


@pytest.mark.parametrize(
    ("maker", "fine_tuned", "said"),
    [
        ("purify", True, "--retrain` does that with the same clean data"),
        ("FineMixTrainer", True, "What happened to the weights after the mixing is vouched for by the publisher"),
        (
            "FineMixTrainer",
            False,
            "Nothing was done to the weights after the mixing, so that this covers all of them.",
        ),
        ("FineMixMixin", True, "What happened to the weights after the mixing is vouched for by the publisher"),
    ],
)
def test_verification_covers_what_it_can(report, maker, fine_tuned, said):
    text = section(render(replace(report, made_by=maker, fine_tuned=fine_tuned)), "How to verify")
    assert said in text and ("--retrain" in text) == (maker == "purify")


@pytest.mark.parametrize(("repo_id", "where"), [(None, "path/to/this/folder"), ("me/model", "me/model")])
def test_verify_and_load_name_where_the_model_is(report, repo_id, where):
    card = render(report, repo_id=repo_id)
    verify = section(card, "How to verify")
    assert f"\nhf-finemix verify {where}\n" in verify and f"`hf-finemix verify {where} --retrain`" in verify
    assert f'classify = pipeline("text-classification", model="{where}")' in section(card, "How to load")


@pytest.mark.parametrize("architecture", ["BertForTokenClassification", "NoSuchModel"])
def test_other_architectures_load_by_their_class(report, architecture):
    shown = section(render(replace(report, architecture=architecture), repo_id="me/model"), "How to load")
    assert f"from transformers import {architecture}\n" in shown and "pipeline" not in shown
    assert f'model = {architecture}.from_pretrained("me/model")' in shown
