"""The defence card: what it says in every case, and what hostile strings do to it (nothing)."""

import ast
import re
import shlex
from dataclasses import replace

import pytest
import yaml
from markdown_it import MarkdownIt

from hf_finemix.card import DefenseCard, render_card
from hf_finemix.card_merge import BEGIN, END, split_card
from hf_finemix.card_sections import BASELINE, figures, steps, verdict
from hf_finemix.cli.main import build_parser
from hf_finemix.markdown import code, escape
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.plan import ParameterRecord
from hf_finemix.rates import Rate
from hf_finemix.records import AdapterRecord, ControlRecord, FigureRecord
from hf_finemix.report import Evaluation
from hf_finemix.results import DataRecord, PurificationReport

from .reports import COMMIT, HOSTILE, make_evaluation, make_report


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


@pytest.fixture
def report() -> PurificationReport:
    return make_report()


def render(report, title="purified", **options):
    return render_card(DefenseCard(report, title, **options))


def section(card, title):
    """The text of one section, without its heading."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)[1].strip()


def titles(card):
    """The headings of the second level."""
    return re.findall(r"^## (.+)$", card, re.MULTILINE)


def blocks(card):
    """The code blocks: language and content."""
    return [(token.info, token.content) for token in MARKDOWN.parse(split_card(card)[1]) if token.type == "fence"]


def tables(markdown):
    """The tables of a text: rows of cells."""
    found = []
    for token in MARKDOWN.parse(markdown):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 2:
            found[-1][-1].append(token.content)
    return found


def several(*attack_successes):
    """Figures of several triggers, each at a position and with a name of its own."""
    triggers = tuple(
        replace(make_evaluation(160, asr).triggers[0], trigger=f"t{index}", position=position)
        for index, (asr, position) in enumerate(zip(attack_successes, ("random", "start", "end"), strict=False))
    )
    return Evaluation(Rate(160, 200), triggers)


def without_examples():
    """Figures on examples that all have the target label."""
    trigger = make_evaluation(160, 0).triggers[0]
    return Evaluation(Rate(160, 200), (replace(trigger, asr=Rate(0, 0), ra=Rate(0, 0), flip_rate=Rate(0, 0)),))


# The verdict


@pytest.mark.parametrize("names", [(), ("suspect",), ("purified",), (BASELINE,)])
def test_verdict_without_both_models_is_not_evaluated(report, names):
    evaluations = {name: make_evaluation(160, 23) for name in names}
    assert verdict(replace(report, evaluations=evaluations)).startswith("**Not evaluated.**")


def test_verdict_without_trigger_knows_nothing_about_a_backdoor(report):
    plain = {"suspect": Evaluation(Rate(172, 200)), "purified": Evaluation(Rate(160, 200))}
    said = verdict(replace(report, evaluations=plain))
    assert said.startswith("**No attack known.**")
    assert "nothing is known about a backdoor. Accuracy fell from 86.0 % to 80.0 %." in said


def test_verdict_without_examples_of_other_labels_measured_no_attack(report):
    said = verdict(replace(report, evaluations={"suspect": without_examples(), "purified": without_examples()}))
    assert said.startswith("**No attack measured.**") and "80.0 % to 80.0 %" in said


@pytest.mark.parametrize(
    ("before", "after", "baseline", "lead"),
    [
        # Weaker only if the intervals lie apart: [40.4, 59.6] before, up to 39.6 or 40.6 now.
        (50, 30, None, "The tested attack is weaker."),
        (50, 31, None, "The tested attack is not measurably weaker."),
        (100, 100, None, "The tested attack is not measurably weaker."),
        # 4 of 100 may be up to 9.8 %.
        (100, 9, 4, "The tested attack is down to the level of ordinary errors."),
        (100, 10, 4, "The tested attack is weaker, but not gone."),
        (50, 31, 4, "The tested attack is not measurably weaker."),
    ],
)
def test_verdict_compares_before_after_and_baseline(report, before, after, baseline, lead):
    evaluations = {"suspect": make_evaluation(172, before), "purified": make_evaluation(160, after)}
    if baseline is not None:
        evaluations[BASELINE] = make_evaluation(180, baseline)
    said = verdict(replace(report, evaluations=evaluations))
    assert said.startswith(f"**{lead}** The trigger `cf` succeeded in {before:.1f} % of tries before")
    assert f"and in {after:.1f} % now" in said
    assert ("no clean model was measured" in said) == (baseline is None)
    assert (f"errs that way in {baseline}.0 %" in said) == (baseline is not None)
    assert said.endswith("Accuracy fell from 86.0 % to 80.0 %. None of this proves that the model is clean.")


@pytest.mark.parametrize(("before", "after", "word"), [(160, 159, "fell"), (160, 160, "went"), (160, 170, "went")])
def test_verdict_says_whether_accuracy_fell(report, before, after, word):
    evaluations = {"suspect": make_evaluation(before, 99), "purified": make_evaluation(after, 3)}
    said = f"Accuracy {word} from {before / 2:.1f} % to {after / 2:.1f} %."
    assert said in verdict(replace(report, evaluations=evaluations))


def test_verdict_takes_no_baseline_from_a_clean_model_without_examples(report):
    said = verdict(replace(report, evaluations=report.evaluations | {BASELINE: without_examples()}))
    assert said.startswith("**The tested attack is weaker.**") and "no clean model was measured" in said


def test_verdict_takes_the_worst_trigger_at_its_own_position(report):
    evaluations = {"suspect": several(90, 80), "purified": several(10, 40), BASELINE: several(39, 3)}
    said = verdict(replace(report, evaluations=evaluations))
    # The baseline of the other trigger would make it ordinary.
    assert said.startswith("**The tested attack is weaker, but not gone.** The trigger `t1`, the worst of 2 tested,")
    assert "80.0 % of tries before and in 40.0 % now" in said and "in 3.0 %" in said


# What was done, and with what


@pytest.mark.parametrize(
    ("maker", "fine_tuned", "said"),
    [
        ("purify", True, "The result was fine-tuned on the clean data below."),
        ("FineMixTrainer", True, "The result was fine-tuned on the clean data below."),
        ("FineMixTrainer", False, "The result was not fine-tuned."),
        ("FineMixMixin", True, "trained it further, in a way that is not recorded here."),
        ("FineMixMixin", False, "Nothing else was done."),
    ],
)
def test_steps_tell_what_followed_the_mixing(report, maker, fine_tuned, said):
    done = steps(replace(report, made_by=maker, fine_tuned=fine_tuned))
    assert done.endswith(said) and "suspicious word embeddings were reset." in done


@pytest.mark.parametrize("purify", [PurifyReport(True, "bert.a"), PurifyReport(applicable=False)])
def test_card_does_not_claim_a_reset_that_was_not_done(report, purify):
    assert "embeddings were reset" not in render(replace(report, purify=purify))


def test_lineage_links_to_the_full_commit(report):
    row = f"| suspect | [someone/suspect](https://huggingface.co/someone/suspect/tree/{COMMIT}) at commit `{COMMIT}` |"
    assert row in section(render(report), "Lineage")


@pytest.mark.parametrize("name", ["suspect", "sus@pect", f"{COMMIT}", f"sus pect@{COMMIT}", f"suspect@{COMMIT[:12]}"])
def test_lineage_links_to_no_folder(report, name):
    lineage = section(render(replace(report, suspect=name)), "Lineage")
    assert f"| suspect | {name} (not from the Hub) |" in lineage and "tree" not in lineage.split("| pretrained")[0]


def test_lineage_names_the_data(report):
    lineage = section(render(replace(report, shared_examples=3)), "Lineage")
    assert f"| clean data | clean.csv, 64 examples, sha256 `{'f' * 16}…` |" in lineage
    assert f"sha256 `{'e' * 16}…`; 3 of them were trained on, too |" in lineage
    assert "trained on, too" not in render(report)


def test_lineage_says_what_is_not_known_of_the_data(report):
    other = replace(report, clean_data=DataRecord("stream", 5, None), evaluation_data=None)
    lineage = section(render(other), "Lineage")
    assert "| clean data | stream, 5 examples, no fingerprint |" in lineage and "| evaluation data | none |" in lineage


# Figures


def test_figures_have_a_table_for_each_trigger(report):
    evaluations = {"suspect": several(90, 80), "purified": several(10, 40), BASELINE: several(2, 3)}
    shown = figures(replace(report, evaluations=evaluations))
    first, second = tables(shown)
    assert first[0] == second[0] == ["in %", "suspect", "purified", "clean model"]
    assert [row[0] for row in first[1:]] == ["ACC", "ASR", "RA", "flip rate"]
    assert first[1][1] == "80.0 [73.9, 85.0]"
    assert first[2][1:] == ["90.0 [82.6, 94.5]", "10.0 [5.5, 17.4]", "2.0 [0.6, 7.0]"]
    assert [cell.split()[0] for cell in second[2][1:]] == ["80.0", "40.0", "3.0"]
    assert "Trigger `t0` at a random position, target label 1 (positive):" in shown
    assert "Trigger `t1` at the start, target label 1 (positive):" in shown
    assert {line.count("|") for line in shown.splitlines()} == {0, 5}


def test_figures_have_their_counts(report):
    said = "Measured on 200 examples for ACC, 100 for ASR and RA; flip rate on 100 (suspect), 100 (purified)."
    assert said in figures(report)


def test_figures_without_examples_are_no_zeros(report):
    (shown,) = tables(figures(replace(report, evaluations={"purified": without_examples()})))
    assert [row[1] for row in shown[1:]] == ["80.0 [73.9, 85.0]", "no examples", "no examples", "no examples"]


def test_figures_without_trigger_are_accuracy_alone(report):
    shown = figures(replace(report, evaluations={"purified": Evaluation(Rate(160, 200))}))
    assert tables(shown) == [[["in %", "purified"], ["ACC", "80.0 [73.9, 85.0]"]]]
    assert shown.endswith("Measured on 200 examples.")


def test_figures_without_evaluation_are_not_measured(report):
    shown = section(render(replace(report, evaluations={})), "Figures")
    # Neither the key to the figures nor the note on the baseline has anything to explain.
    assert shown == "Not measured: no evaluation data was given."


def test_target_label_may_have_no_name(report):
    assert "target label 1 (no name)" in figures(replace(report, labels={}))


def test_baseline_note(report):
    assert "No clean-model baseline was measured" in section(render(report), "Figures")
    with_baseline = replace(report, evaluations=report.evaluations | {BASELINE: make_evaluation(180, 4)})
    shown = section(render(with_baseline), "Figures")
    # Models stand side by side.
    assert "The column “clean model” is the baseline" in shown and "No clean-model baseline" not in shown


# Reset tokens, and what was not tested


def test_reset_tokens_are_named(report):
    said = section(render(report), "Reset tokens")
    assert said.startswith("1 of 100 word embeddings were reset to the pretrained row, the most suspicious first: cf.")
    assert "no proof of a backdoor" in said and "output layer" not in said


@pytest.mark.parametrize(
    ("purify", "said"),
    [
        (PurifyReport(True, "bert.a"), "No word embedding was reset."),
        (PurifyReport(applicable=False), "Not applicable: the model has no word embedding"),
        (PurifyReport(True, "e", 9, (TokenScore(1, 7, None, 0.5),)), "first: id 7."),
        (PurifyReport(True, "e", 9, (TokenScore(1, 7, "cf", 0.5),), True), "cf. The output layer shares these rows"),
        (
            PurifyReport(True, "e", 9999, tuple(TokenScore(rank, rank, f"t{rank}", 0.5) for rank in range(1, 26))),
            "25 of 9,999 word embeddings",
        ),
    ],
)
def test_reset_tokens_in_other_cases(report, purify, said):
    assert said in section(render(replace(report, purify=purify)), "Reset tokens")


def test_reset_tokens_show_twenty(report):
    tokens = tuple(TokenScore(rank, rank, f"t{rank}", 0.5) for rank in range(1, 26))
    said = section(render(replace(report, purify=PurifyReport(True, "e", 100, tokens))), "Reset tokens")
    assert "t19, t20 and 5 more." in said and "t21" not in said


@pytest.mark.parametrize(
    ("evaluations", "first"),
    [
        ({}, "Nothing was tested: neither accuracy nor any trigger."),
        ({"purified": Evaluation(Rate(160, 200))}, "No trigger was tried; only accuracy was measured."),
        ({"purified": several(10, 40)}, "Any trigger but `t0`, `t1`: other words"),
    ],
)
def test_what_was_not_tested(report, evaluations, first):
    said = section(render(replace(report, evaluations=evaluations)), "What was not tested")
    assert said.startswith(f"- {first}")
    assert ("- A clean model of the same kind" in said) == bool(evaluations)
    assert ("- Texts of another kind" in said) == bool(evaluations)
    assert "- Attackers who knew this defence" in said and "- A positive control" in said


def test_what_was_tested_is_not_listed_as_untested(report):
    evaluations = report.evaluations | {BASELINE: make_evaluation(180, 4)}
    control = ControlRecord("mn", Rate(99, 100), Rate(5, 100))
    said = section(render(replace(report, evaluations=evaluations, control=control)), "What was not tested")
    assert "clean model" not in said and "positive control" not in said


# Optional sections


OPTIONAL = {
    "Adapter": {"adapter": AdapterRecord("LoRA", 8, ("query", "value"))},
    "Frontier": {"frontier": FigureRecord("figures/frontier.png", "Accuracy *against* [ASR]", "All recipes | tried")},
    "Positive control": {"control": ControlRecord("mn", Rate(99, 100), Rate(5, 100))},
    "Metrics of the training script": {"metrics": {"eval_f1": 0.81234, "eval_loss": 2.0}},
}


@pytest.mark.parametrize("title", OPTIONAL)
def test_optional_section_appears_only_with_its_record(report, title):
    assert title not in titles(render(report))
    assert [name for name in titles(render(replace(report, **OPTIONAL[title]))) if name in OPTIONAL] == [title]


def test_optional_sections_say_what_was_recorded(report):
    card = render(replace(report, **{key: value for part in OPTIONAL.values() for key, value in part.items()}))
    assert "a LoRA adapter of rank 8 on `query`, `value`." in section(card, "Adapter")
    control = section(card, "Positive control")
    assert "the trigger `mn`" in control
    assert "from 99.0 % [94.6, 99.8], n = 100 to 5.0 % [2.2, 11.2], n = 100." in control
    metrics = section(card, "Metrics of the training script")
    assert tables(metrics) == [[["metric", "value"], ["eval\\_f1", "0.8123"], ["eval\\_loss", "2.0000"]]]
    assert section(card, "Frontier").split("\n\n") == [
        "![Accuracy \\*against\\* \\[ASR\\]](figures/frontier.png)",
        "All recipes \\| tried",
    ]


def test_adapter_of_unknown_rank(report):
    card = render(replace(report, adapter=AdapterRecord("IA3", None, ("key",))))
    assert "IA3 adapter on `key`" in section(card, "Adapter")


# Recipe, verification, loading


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


# Licence


@pytest.mark.parametrize(
    ("licenses", "chosen", "said", "stated"),
    [
        ({"suspect": "mit", "pretrained": "mit"}, None, "both, keeps it.", "mit"),
        ({"suspect": "mit", "pretrained": "mit"}, "mit", "both, keeps it.", "mit"),
        ({"suspect": "mit", "pretrained": "apache-2.0"}, None, "They give no single licence", None),
        ({"suspect": None, "pretrained": "mit"}, None, "They give no single licence", None),
        ({"suspect": "other", "pretrained": "other"}, None, "They give no single licence", None),
        ({}, None, "suspect: none stated, pretrained: none stated. They give no single licence", None),
        (
            {"suspect": "mit", "pretrained": "mit"},
            "apache-2.0",
            "The publisher of this model states: apache",
            "apache-2.0",
        ),
        ({}, "apache-2.0", "The publisher of this model states: apache-2.0.", "apache-2.0"),
    ],
)
def test_licence(report, licenses, chosen, said, stated):
    card = render(replace(report, licenses=licenses), license=chosen)
    assert said in section(card, "Licence") and split_card(card)[0].get("license") == stated


def test_environment_is_named(report):
    assert section(render(report), "Environment").startswith("torch 2.13.0. All figures")


# Form


def test_rendering_is_deterministic(report):
    again = PurificationReport.from_dict(report.to_dict())
    assert render(report).encode() == render(report).encode() == render(again).encode()


def test_generated_text_stands_between_the_marks(report):
    body = split_card(render(report))[1]
    assert body.strip().startswith(f"{BEGIN}\n\n# purified\n") and body.strip().endswith(f"\n\n{END}")


def evaluations(trigger="cf", name="purified", position="random"):
    shown = make_evaluation(160, 50, trigger)
    shown = replace(shown, triggers=(replace(shown.triggers[0], position=position),))
    return {"suspect": shown, "purified": shown, name: shown}


# Each place of a card that holds a string which somebody else may have chosen.
PLACES = {
    "suspect": lambda text: {"suspect": text},
    "pretrained": lambda text: {"pretrained": text},
    "token": lambda text: {"purify": PurifyReport(True, text, 100, (TokenScore(1, 7, text, 0.5),))},
    "trigger": lambda text: {"evaluations": evaluations(text), "control": ControlRecord(text, Rate(1, 2), Rate(0, 2))},
    "position": lambda text: {"evaluations": evaluations(position=text)},
    "compared model": lambda text: {"evaluations": evaluations(name=text)},
    "label": lambda text: {"labels": {0: text, 1: text}},
    "data name": lambda text: {
        "clean_data": DataRecord(text, 64, None),
        "evaluation_data": DataRecord(text, 64, None),
    },
    "data fingerprint": lambda text: {"clean_data": DataRecord("clean.csv", 64, text)},
    "data set": lambda text: {"clean_data": DataRecord("clean.csv", 64, None, text)},
    "columns": lambda text: {"clean_data": DataRecord("clean.csv", 64, None, None, (text,), text)},
    "parameter": lambda text: {
        "mix": replace(make_report().mix, parameters=(ParameterRecord(text, (2, 2), "kept", text),))
    },
    "licences": lambda text: {"licenses": {"suspect": text, "pretrained": text}},
    "environment": lambda text: {"environment": {text: text}},
    "metric": lambda text: {"metrics": {text: 0.5}},
    "adapter": lambda text: {"adapter": AdapterRecord(text, 8, (text,))},
    "figure": lambda text: {"frontier": FigureRecord("frontier.png", text, text)},
    "frequencies": lambda text: {"recipe": replace(make_report().recipe, frequencies=text)},
    "training": lambda text: {"made_by": "FineMixTrainer", "recipe": None, "training": {"optim": text, "x": [text]}},
    "title": lambda text: {},
}
HOSTILES = {
    "mixture": HOSTILE,
    "fence": "x\n```\n\n# Verified clean\n\n<img src=//evil.example>\n\n```",
    "short": "`<img src=//a.b>",
    "document": "mit\n---\n\n# Verified clean\n\n---\nlicense: mit\n---\n",
    "mark": f"{END}\n\n{END}\n# Verified clean\n{BEGIN}",
    "list": "1. Verified clean",
    "bullet": "- + * Verified clean",
    "addresses": "https://evil.example <https://evil.example> www.evil.example &lt;b&gt; ![x](//evil.example)",
    "table": "a | b |\n|---|---|\n| c | d |",
}


def anatomy(card):
    """What Markdown makes of a card, its text apart: blocks, what stands inside of the lines, cells of the tables."""
    header, body = split_card(card)
    tokens, lines = MARKDOWN.parse(body), body.splitlines()
    shape = []
    for token in tokens:
        shape.append((token.type, token.tag, token.info, token.content if token.type == "html_block" else ""))
        kinds = [(child.type, child.attrs.get("href") or child.attrs.get("src")) for child in token.children or ()]
        shape += [kind for kind in kinds if kind[0] != "text"]
        if token.type == "table_open":
            # As they are written: a parser gives each line the cells of the first, be there more or less.
            cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[token.map[0] : token.map[1]]]
            assert len(set(cells)) == 1, lines[token.map[0] : token.map[1]]
            shape.append(("cells", cells))
    return header.keys(), shape


def card_with(place, text):
    return render(replace(make_report(), **PLACES[place](text)), text if place == "title" else "purified")


@pytest.mark.parametrize("place", PLACES)
def test_card_has_no_html_but_its_marks(place):
    shape = anatomy(card_with(place, "word"))[1]
    assert [item[3].strip() for item in shape if "html" in item[0]] == [BEGIN, END]


@pytest.mark.parametrize("place", PLACES)
def test_hostile_string_is_text_and_nothing_else(place):
    keys, shape = anatomy(card_with(place, "word"))
    for kind, text in HOSTILES.items():
        card = card_with(place, text)
        found, hostile_shape = anatomy(card)
        # The same paragraphs, headings, tables, links, images and code spans as with a word in its place.
        assert hostile_shape == shape, kind
        # What is no licence and no id of the Hub may be left out.
        assert found <= keys, kind
        assert card.splitlines().count("---") == 2, kind


@pytest.mark.parametrize("place", PLACES)
def test_control_characters_do_not_reach_the_card(place):
    card = card_with(place, "a\u202eb\u2028c\x85d\x07e\x00f\u200bg\x1b[31m")
    assert sorted({character for character in card if not character.isprintable()}) == ["\n"]


def test_escape_leaves_plain_text_as_it_is():
    assert escape("Bert 2.0: a model (small), 50 % - no. 1!") == "Bert 2.0: a model (small), 50 % - no. 1!"


def test_escape_and_code():
    assert escape("a*b\n|c") == r"a\*b \|c"
    assert escape("https://evil.example www.evil.example") == r"https\://evil.example www\.evil.example"
    assert escape("+ a") == r"\+ a" and escape("# a") == r"\# a" and escape("x" * 300) == "x" * 200
    assert code("a`b|c\n") == "`a b c`"
    assert code("") == "` `" and code("\x1b") == "` `"
