"""The form of the defence card: the same every time, and what hostile strings do to it (nothing)."""

import re
from dataclasses import replace

import pytest

from hf_finemix.card_merge import BEGIN, END, split_card
from hf_finemix.markdown import code, escape
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.plan import ParameterRecord
from hf_finemix.rates import Rate
from hf_finemix.records import (
    AdapterRecord,
    ControlRecord,
    DistillationRecord,
    FigureRecord,
    SearchRecord,
    TrialRecord,
)
from hf_finemix.results import DataRecord, PurificationReport
from hf_finemix.trigger_search import Insertion

from .cards import MARKDOWN, render
from .reports import HOSTILE, make_evaluation, make_report


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


def searched(text):
    control = ControlRecord(text, Rate(9, 10), Rate(1, 10), Rate(1, 10))
    trial = TrialRecord(0.1, text, Rate(9, 10), Rate(19, 20), control)
    return {"search": SearchRecord(Rate(9, 10), 1, (trial,), 0, True), "control": control}


def distilled(text):
    triggers = (Insertion(text, 7, 1, Rate(9, 10)), Insertion("##x", 8, 1, Rate(9, 10)))
    return {"distilled": DistillationRecord(64, 3, triggers, Rate(1, 64), (5,))}


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
    "search": searched,
    "distillation": distilled,
    "unlabelled data": lambda text: {"unlabeled_data": DataRecord(text, 64, text, text, (text,), text)},
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
