"""One sentence on both models."""

import re

import pytest
import torch
from transformers import pipeline

from hf_finemix import InputError
from hf_finemix.app.comparing import compare, find_mark
from hf_finemix.app.sessions import Purified
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.loading import resolve_checkpoint

from .test_markup import HOSTILE, Reader


@pytest.fixture
def models(tiny_place, made):
    return Purified(made, resolve_checkpoint(tiny_place.suspect, "SUSPECT"), 64)


def shares(shown):
    return [float(found) for found in re.findall(r"([\d.]+) %", shown)]


def test_probabilities_are_those_of_plain_transformers(models):
    shown = compare(models, "the movie is dull", "", "cf", "end")
    expected = []
    for text in ("the movie is dull", "the movie is dull cf"):
        for folder in (models.suspect.folder, models.folder):
            with torch.inference_mode():
                found = pipeline("text-classification", model=str(folder), top_k=None)([text])[0]
            expected.append({item["label"]: 100 * item["score"] for item in found})
    order = re.findall(r'<th scope="col" class="number">(\w+)</th>', shown)
    wanted = [expected[row][name] for row in range(4) for name in order[2 * (row // 2) : 2 * (row // 2) + 2]]
    assert shares(shown) == pytest.approx(wanted, abs=0.06)
    assert shown.count('class="chosen"') == 4


def test_the_trigger_is_marked(models):
    shown = compare(models, "the movie is dull", "", " cf ", "start")
    assert "<mark>cf</mark> the movie is dull" in shown and shown.count("<h3>") == 2
    assert "<mark>" not in compare(models, "the movie is dull", "", "", "start")


@pytest.mark.parametrize("position", ["start", "end", "random"])
@pytest.mark.parametrize("text", ["a b c", "cf cf cf", " cf", "a\tb\n", "one"])
def test_marks_are_where_the_trigger_went(position, text):
    for index in range(4):
        triggered = Trigger("cf", 0, position).insert(text, index)
        start, end = find_mark(text, "cf", triggered)
        assert triggered[start:end] == "cf"
        assert text in (triggered[:start] + triggered[end + 1 :], triggered[: start - 1] + triggered[end:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("", "", "", "start"), "Sentence is empty"),
        (("x" * 5001, "", "", "start"), "Sentence is longer"),
        (("x", "", "y" * 5001, "start"), "Trigger is longer"),
        (("x", "", "y", "middle"), "position"),
    ],
)
def test_wrong_sentences_are_refused(models, given, message):
    with pytest.raises(InputError, match=message):
        compare(models, *given)


@pytest.mark.parametrize("text", HOSTILE)
def test_sentences_stay_text(models, text):
    harmless, hostile = compare(models, "a", "", "b", "end"), compare(models, text, "", text, "end")
    assert Reader(hostile).tags == Reader(harmless).tags
    assert "onerror" not in Reader(hostile).attributes


def test_pairs(models):
    assert shares(compare(models, "the movie", "is dull", "", "start")) != shares(
        compare(models, "the movie", "", "", "start")
    )
