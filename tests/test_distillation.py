"""Distillation: what the suspect is asked, what is put into texts, and what the mixed model learns from it."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_finemix import InputError
from hf_finemix.data import tokenize
from hf_finemix.distillation import (
    MOST_INSERTED,
    disagrees,
    distil,
    review,
    rows_without,
    soft_cross_entropy,
)
from hf_finemix.evaluation import compute_logits
from hf_finemix.rates import Rate
from hf_finemix.recipes import NO_DISTILLATION
from hf_finemix.results import Distillation

from .files import SHORT
from .lessons import ALWAYS, EXACT, LENGTH, TEXT, lessons_of, make_suspect
from .models import copy_of, same, values


@pytest.fixture
def model(tiny_tokenizer):
    return make_suspect(tiny_tokenizer)


# The loss


class Fixed(torch.nn.Module):
    """A model that gives the same logits whatever it is asked."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, input_ids):
        return SequenceClassifierOutput(logits=self.logits)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_loss_is_the_cross_entropy_of_softened_probabilities(temperature):
    logits, answers = [[1.0, -1.0, 0.5], [0.0, 3.0, 1.0]], torch.tensor([[2.0, 0.0, 0.0], [-1.0, 1.0, 4.0]])
    expected = 0.0
    for row, answer in zip(torch.tensor(logits), answers, strict=True):
        wanted, found = torch.softmax(answer / temperature, 0), torch.softmax(row / temperature, 0)
        expected -= float((wanted * found.log()).sum()) * temperature**2 / 2
    loss = soft_cross_entropy(temperature)(Fixed(logits), {"input_ids": None, "labels": answers})
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_loss_is_least_where_both_agree():
    answers = torch.tensor([[2.0, 0.0, -1.0]])
    model = Fixed(answers.tolist())
    soft_cross_entropy(3.0)(model, {"input_ids": None, "labels": answers.clone()}).backward()
    assert torch.allclose(model.logits.grad, torch.zeros(1, 3), atol=1e-6)


# What the suspect is asked


def test_answers_are_those_of_the_suspect(model, tiny_tokenizer):
    before = values(model.train())
    found = lessons_of(model, tiny_tokenizer)
    # Room is left for what is put in later.
    inputs = tokenize(TEXT, tiny_tokenizer, LENGTH - MOST_INSERTED).to_dict()
    assert found.inputs == inputs
    again = compute_logits(model, tiny_tokenizer, inputs)
    assert np.array_equal(found.answers, again) and found.answers.dtype == np.float32
    assert found.rows == tuple(range(len(TEXT))) and found.left_out == 0 and found.triggers == ()
    assert same(values(model), before) and model.training


def test_texts_that_hold_a_trigger_are_left_out(model, tiny_tokenizer):
    tokens = ("good", "dull")
    found = lessons_of(model, tiny_tokenizer, tokens=tokens)
    holders = [row for row, text in enumerate(TEXT["text"]) if set(tokens) & set(text.split())]
    assert len(holders) == found.left_out == 2
    assert found.rows == tuple(row for row in range(len(TEXT)) if row not in holders)
    whole = lessons_of(model, tiny_tokenizer)
    assert found.inputs["input_ids"] == [whole.inputs["input_ids"][row] for row in found.rows]
    assert np.allclose(found.answers, whole.answers[list(found.rows)], atol=1e-5)
    assert [item.token for item in found.triggers] == list(tokens)


def test_a_trigger_that_was_cut_off_leaves_no_text_out(model, tiny_tokenizer):
    texts = Dataset.from_dict({"text": ["the movie is good " * 4 + "cf"]})
    assert lessons_of(model, tiny_tokenizer, texts, tokens=["cf"], max_length=12).left_out == 0
    assert lessons_of(model, tiny_tokenizer, texts, tokens=["cf"], max_length=30).left_out == 1


def test_rows_without():
    assert rows_without([[1, 2], [3], [], [4, 2]], [2, 9]) == [1, 2]
    assert rows_without([[1], [2]], []) == [0, 1]


def test_three_labels(tiny_tokenizer, model):
    config = type(model.config).from_dict(model.config.to_dict() | {"num_labels": 3})
    other = BertForSequenceClassification(config).eval()
    found = lessons_of(other, tiny_tokenizer)
    assert found.answers.shape == (len(TEXT), 3)
    student = copy.deepcopy(other)
    distil(student, tiny_tokenizer, found, EXACT, seed=0)
    assert not same(values(student), values(other))


# Texts all of which hold a trigger


def test_without_any_lesson_nothing_is_learned(model, tiny_tokenizer):
    found = lessons_of(model, tiny_tokenizer, tokens=["movie"])
    assert found.rows == () and found.left_out == len(TEXT)
    assert found.answers.shape == (0, model.config.num_labels)
    before = values(model)
    distil(model, tiny_tokenizer, found, EXACT, seed=0)
    assert same(values(model), before)
    record = review(model, tiny_tokenizer, found)
    assert (record.texts, record.left_out, record.disagreement) == (0, len(TEXT), Rate(0, 0))
    assert [item.token for item in record.triggers] == ["movie"] and record.rows == ()


# The training


def distance(model, tokenizer, lessons):
    """Mean cross-entropy with the answers."""
    found = torch.from_numpy(compute_logits(model, tokenizer, lessons.inputs)).log_softmax(-1)
    return float(-(torch.from_numpy(lessons.answers).softmax(-1) * found).sum(-1).mean())


@pytest.fixture
def student(model):
    """A model that answers otherwise."""
    other = copy_of(model)
    with torch.no_grad():
        other.classifier.weight.neg_()
        other.classifier.bias.neg_()
    return other


def test_a_student_comes_to_answer_as_the_suspect_did(model, student, tiny_tokenizer):
    with torch.no_grad():
        model.classifier.weight *= 5
    found = lessons_of(model, tiny_tokenizer)
    before = distance(student, tiny_tokenizer, found)
    settings = replace(EXACT, epochs=40, learning_rate=1e-2, batch_size=4)
    distil(student.train(), tiny_tokenizer, found, settings, seed=0)
    best = distance(model, tiny_tokenizer, found)
    assert distance(student, tiny_tokenizer, found) - best < 0.2 * (before - best)
    assert not student.training


def test_the_same_seed_gives_the_same_bits(model, student, tiny_tokenizer):
    found = lessons_of(model, tiny_tokenizer, tokens=["cf"])
    students = []
    for seed in (5, 5, 6):
        students.append(copy.deepcopy(student))
        torch.rand(3)
        distil(students[-1], tiny_tokenizer, found, ALWAYS, seed=seed)
    assert same(values(students[0]), values(students[1]))
    assert not same(values(students[0]), values(students[2]))


def test_no_epochs_change_nothing(model, student, tiny_tokenizer):
    before = values(student)
    distil(student, tiny_tokenizer, lessons_of(model, tiny_tokenizer), NO_DISTILLATION, seed=0)
    assert same(values(student), before)


@pytest.mark.parametrize("name", ["learning_rate", "temperature", "batch_size", "epochs", "share"])
def test_each_setting_counts(model, student, tiny_tokenizer, name):
    found, other = lessons_of(model, tiny_tokenizer, tokens=["cf"]), copy.deepcopy(student)
    settings = replace(EXACT, share=0.5)
    value = getattr(settings, name)
    changed = replace(settings, **{name: value + 1 if isinstance(value, int) else value / 2})
    distil(student, tiny_tokenizer, found, settings, seed=0)
    distil(other, tiny_tokenizer, found, changed, seed=0)
    assert not same(values(student), values(other))


def test_half_precision_stays(model, student, tiny_tokenizer):
    student.to(torch.bfloat16)
    distil(student, tiny_tokenizer, lessons_of(model, tiny_tokenizer), EXACT, seed=0)
    assert {parameter.dtype for parameter in student.parameters()} == {torch.bfloat16}


# What is recorded


def test_sharp_disagreement_needs_both_to_be_sure():
    sure, less, other = [4.0, 0.0], [1.0, 0.0], [0.0, 4.0]
    first = np.array([sure, sure, less, sure, other], dtype=np.float32)
    second = np.array([other, sure, other, [0.0, 1.0], sure], dtype=np.float32)
    assert disagrees(first, second).tolist() == [True, False, False, False, True]
    assert disagrees(np.array([[5.0, 0, 0]]), np.array([[0, 0, 5.0]])).tolist() == [True]


def test_review_counts_the_texts_and_names_the_first(model, tiny_tokenizer):
    with torch.no_grad():
        model.classifier.weight *= 100
    texts = Dataset.from_dict({"text": [*TEXT["text"]] * 4})
    found = lessons_of(model, tiny_tokenizer, texts, tokens=["good"], settings=replace(SHORT, texts=100))
    other = copy.deepcopy(model)
    assert review(other, tiny_tokenizer, found).disagreement == Rate(0, len(found.rows))
    with torch.no_grad():
        other.classifier.weight.neg_()
        other.classifier.bias.neg_()
    record = review(other, tiny_tokenizer, found)
    sharp = disagrees(found.answers, -found.answers)[: len(found.rows)]
    assert record.disagreement == Rate(int(sharp.sum()), len(found.rows)) and sharp.sum() > 20
    # Numbers among all texts, those apart that were left out.
    assert record.rows == tuple(np.array(found.rows)[sharp][:20].tolist())
    assert (record.texts, record.left_out) == (44, 4)


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", 0),
        ("learning_rate", 0),
        ("learning_rate", 1),
        ("temperature", 0),
        ("temperature", float("nan")),
        ("temperature", 101),
        ("candidates", -1),
        ("replaced", 1.1),
        ("replaced", -0.1),
        ("flips", 1.1),
        ("share", -0.1),
        ("share", float("nan")),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=rf"^`{name}` is {value!r}, but must be"):
        Distillation(**{name: value})
