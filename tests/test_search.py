"""The search for the reserve ratio: how it chooses, what it holds out, and that nobody tells it a trigger."""

import inspect
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertForSequenceClassification

from hf_finemix import FineMixConfig
from hf_finemix import search as module
from hf_finemix.control import plant
from hf_finemix.defenses.base import DefenderView
from hf_finemix.evaluation import predict
from hf_finemix.rates import Rate
from hf_finemix.recipes import NO_DISTILLATION
from hf_finemix.records import ControlRecord, SearchRecord, TrialRecord
from hf_finemix.results import Distillation
from hf_finemix.scanning import scan
from hf_finemix.search import DRIFT_RATIOS, RATIOS, make_folds, search
from hf_finemix.treatment import Materials, treat_
from hf_finemix.trigger_finding import find_triggers
from hf_finemix.trigger_search import Insertion
from hf_finemix.twin import load_twin

from .defender import CLEAN, RECIPE
from .files import SHORT
from .lessons import make_suspect
from .models import make, same, values


CONFIG = FineMixConfig(seed=4, purify_top_k=5, keep_ratio=0.77)
UNLABELED = Dataset.from_dict({"text": [f"the {noun} is {word}" for noun in ("plot", "music") for word in "abcdefgh"]})


@pytest.fixture
def model(tiny_tokenizer):
    return make_suspect(tiny_tokenizer)


@pytest.fixture
def materials(model, tiny_tokenizer):
    base = make(type(model.base_model), model.config, 0)
    return Materials(tiny_tokenizer, load_twin(model, base), CLEAN)


# What is held out


def rows(examples):
    return list(zip(examples["text"], examples["label"], strict=True))


@pytest.mark.parametrize("size", [2, 3, 7, 12])
def test_labels_are_held_out_in_turn(model, materials, size):
    clean = CLEAN.select([*range(12 - size + size // 2, 12), *range(size // 2)])
    folds = list(make_folds(model, replace(materials, clean=clean), RECIPE))
    assert len(folds) == 2
    held_out = [rows(fold.held_out)[: fold.labeled] for fold in folds]
    assert sorted(held_out[0] + held_out[1]) == sorted(rows(clean))
    for fold, others in zip(folds, reversed(held_out), strict=True):
        assert rows(fold.materials.clean) == others
        assert fold.materials.unlabeled is None and fold.materials.twin is materials.twin


def test_halves_have_the_labels_in_proportion_and_depend_on_the_seed(model, materials):
    folds = list(make_folds(model, materials, RECIPE))
    assert [sorted(fold.held_out["label"][: fold.labeled]) for fold in folds] == [[0] * 3 + [1] * 3] * 2
    again, other = (list(make_folds(model, materials, replace(RECIPE, seed=seed))) for seed in (RECIPE.seed, 8))
    assert rows(again[0].held_out) == rows(folds[0].held_out) != rows(other[0].held_out)


def test_labels_alone_are_held_out_beside_spliced_texts_with_the_answers_of_the_suspect(model, materials, monkeypatch):
    monkeypatch.setattr(module, "_SPLICED", 10)
    for fold in make_folds(model, materials, RECIPE):
        spliced = fold.held_out.select(range(fold.labeled, len(fold.held_out)))
        assert len(spliced) == 5
        words = set(" ".join(fold.held_out["text"][: fold.labeled]).split())
        assert set(" ".join(spliced["text"]).split()) <= words
        assert spliced["label"][:] == predict(model, materials.tokenizer, spliced, max_length=16).tolist()


@pytest.mark.parametrize("size", [1, 3, 4, 16])
def test_unlabelled_texts_teach_and_all_labels_are_held_out(model, materials, size):
    materials = replace(materials, unlabeled=UNLABELED.select(range(size)))
    (fold,) = make_folds(model, materials, RECIPE)
    assert len(fold.materials.clean) == 0 and fold.labeled == len(CLEAN)
    learned, held_out = fold.materials.unlabeled["text"][:], fold.held_out["text"][len(CLEAN) :]
    assert learned + held_out == UNLABELED["text"][:size] and len(held_out) == size // 4
    assert rows(fold.held_out)[: len(CLEAN)] == rows(CLEAN)
    answers = predict(model, materials.tokenizer, Dataset.from_dict({"text": held_out}), max_length=16)
    assert fold.held_out["label"][len(CLEAN) :] == answers.tolist()
    assert fold.materials.texts["text"][:] == learned


def test_of_many_unlabelled_texts_some_are_held_out(model, materials, monkeypatch):
    monkeypatch.setattr(module, "_HELD_OUT", 3)
    (fold,) = make_folds(model, replace(materials, unlabeled=UNLABELED), RECIPE)
    assert len(fold.held_out) == len(CLEAN) + 3 and len(fold.materials.unlabeled) == len(UNLABELED) - 3


def test_pairs_are_held_out_as_pairs(model, materials):
    clean = (
        CLEAN.select(range(4)).add_column("text_pair", ["it is"] * 4).select_columns(["text", "text_pair", "label"])
    )
    unlabeled = UNLABELED.add_column("text_pair", ["it was"] * len(UNLABELED))
    (fold,) = make_folds(model, replace(materials, clean=clean, unlabeled=unlabeled), RECIPE)
    assert set(fold.held_out["text_pair"]) == {"it is", "it was"}


def test_no_unlabelled_texts_are_as_if_there_were_none(model, materials):
    empty = replace(materials, unlabeled=UNLABELED.select([]))
    folds = [list(make_folds(model, each, RECIPE)) for each in (materials, empty)]
    assert [rows(fold.held_out) for fold in folds[0]] == [rows(fold.held_out) for fold in folds[1]]


# The choice


@pytest.fixture
def trials(monkeypatch, model, materials):
    """Runs a search in which the outcomes of the trials are given: how many of 50 are right, and the control's."""

    def choose(outcomes, config=CONFIG, distillation=SHORT, materials=materials):
        asked = []

        def attempt(control, before, folds, *others):
            config, recipe, distillation = others[-3:]
            asked.append(SimpleNamespace(config=config, folds=folds, distillation=distillation, recipe=recipe))
            right, survives = outcomes[config.keep_ratio]
            after = Rate(90 if survives else 3, 100)
            record = ControlRecord("cf", Rate(99, 100), after, Rate(3, 100))
            everything = np.arange(50) < right
            return TrialRecord(config.keep_ratio, config.selection, Rate(1, 2), Rate(right, 50), record), everything

        monkeypatch.setattr(module, "_try", attempt)
        monkeypatch.setattr(module, "plant", lambda *args, **options: SimpleNamespace(model=model))
        monkeypatch.setattr(module, "measure_control", lambda *args: (Rate(99, 100),))
        return *search(model, materials, config, RECIPE, distillation), asked

    return choose


def given(accurate, removed, ratios=RATIOS):
    """Outcomes in which ratios from the number `accurate` are accurate, and the control goes below `removed`."""
    return {ratio: (45 if at >= accurate else 20, at >= removed) for at, ratio in enumerate(ratios)}


@pytest.mark.parametrize("accurate", range(len(RATIOS)))
@pytest.mark.parametrize("removed", range(len(RATIOS) + 1))
def test_smallest_accurate_ratio_or_the_next_that_removes_the_control(trials, accurate, removed):
    config, record, asked = trials(given(accurate, removed))
    # Below `removed` the control goes; where no ratio removes it, the smallest is taken, and the record says so.
    wanted = max(min(accurate, removed - 1), 0)
    assert config == replace(CONFIG, keep_ratio=RATIOS[wanted])
    assert record.trials[record.chosen].keep_ratio == RATIOS[wanted] and record.removed == (removed > 0)
    ratios = [each.config.keep_ratio for each in asked]
    assert len(set(ratios)) == len(ratios)
    assert [trial.keep_ratio for trial in record.trials] == sorted(ratios)
    assert all(replace(each.config, keep_ratio=0.77) == CONFIG for each in asked)


@pytest.mark.parametrize(
    ("right", "wanted"),
    [
        # The largest is not the best: what is compared is the best one tried.
        ((30, 40, 44, 44, 42), 2),
        ((30, 44, 42, 44, 42), 1),
        ((44, 44, 44, 44, 42), 0),
        ((30, 30, 42, 46, 44), 3),
        ((30, 30, 30, 30, 42), 4),
    ],
)
def test_a_smaller_ratio_must_be_as_good_as_the_best_one_tried(trials, right, wanted):
    outcomes = {ratio: (count, False) for ratio, count in zip(RATIOS, right, strict=True)}
    assert trials(outcomes)[0].keep_ratio == RATIOS[wanted]


def test_one_ratio_is_chosen_if_there_is_but_one(trials, monkeypatch):
    monkeypatch.setattr(module, "RATIOS", (0.3,))
    config, record, asked = trials({0.3: (40, True)})
    assert config.keep_ratio == 0.3 and len(asked) == len(record.trials) == 1 and not record.removed


@pytest.mark.parametrize(
    ("selection", "ratios"), [("random", RATIOS), ("largest_drift", RATIOS), ("smallest_drift", DRIFT_RATIOS)]
)
def test_ratios_are_those_of_the_selection(trials, selection, ratios):
    config, record, asked = trials(given(0, len(ratios), ratios), replace(CONFIG, selection=selection))
    assert config.keep_ratio == ratios[0] and {each.config.keep_ratio for each in asked} <= set(ratios)
    assert {trial.selection for trial in record.trials} == {selection}
    assert list(ratios) == sorted(set(ratios)) and ratios[0] > 0 and ratios[-1] < 1


@pytest.mark.parametrize(("epochs", "half"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_trials_take_half_of_the_passes(trials, epochs, half):
    distillation = replace(SHORT, epochs=epochs)
    asked = trials(given(0, 9), distillation=distillation)[2]
    assert {each.distillation for each in asked} == {replace(distillation, epochs=half)}
    assert {each.recipe for each in asked} == {RECIPE}


def test_reference_is_the_suspects_accuracy_on_the_labels(trials, model, materials):
    record = trials(given(0, 9))[1]
    right = predict(model, materials.tokenizer, CLEAN, max_length=16) == np.array(CLEAN["label"][:])
    assert record.reference == Rate(int(right.sum()), len(CLEAN)) and record.folds == 2


@pytest.mark.parametrize(("distillation", "folds"), [(SHORT, 1), (NO_DISTILLATION, 2)])
def test_unlabelled_texts_teach_nothing_without_distillation(trials, materials, distillation, folds):
    materials = replace(materials, unlabeled=UNLABELED)
    _, record, asked = trials(given(0, 9), distillation=distillation, materials=materials)
    assert record.folds == folds == len(asked[0].folds)
    # There is always something to learn from.
    for fold in asked[0].folds:
        assert len(fold.materials.clean) or fold.materials.unlabeled is not None


# Whole searches


@pytest.fixture
def quick(monkeypatch):
    """A search of two ratios with a control that is planted in no time."""
    monkeypatch.setattr(module, "RATIOS", (0.1, 0.6))
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 3)
    monkeypatch.setattr("hf_finemix.control._EPOCHS", 1)


@pytest.mark.parametrize("unlabeled", [None, UNLABELED])
def test_the_suspect_and_the_inputs_are_left_alone(model, materials, quick, unlabeled):
    materials = replace(materials, unlabeled=unlabeled)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    twin = {name: tensor.clone() for name, tensor in materials.twin.tensors.items()}
    config, mode = model.config.to_dict(), model.training
    search(model, materials, CONFIG, RECIPE, SHORT)
    assert same(dict(model.state_dict()), state) and same(dict(materials.twin.tensors), twin)
    assert model.config.to_dict() == config and model.training == mode
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("unlabeled", [None, UNLABELED])
def test_two_searches_give_equal_records(model, materials, quick, unlabeled):
    materials = replace(materials, unlabeled=unlabeled)
    first = search(model, materials, CONFIG, RECIPE, SHORT)
    torch.rand(9)
    np.random.rand(9)
    assert search(model, materials, CONFIG, RECIPE, SHORT) == first
    record = first[1]
    assert SearchRecord.from_dict(record.to_dict()) == record
    assert first[0] == replace(CONFIG, keep_ratio=record.trials[record.chosen].keep_ratio)
    held_out = len(CLEAN) + (module._SPLICED if unlabeled is None else len(UNLABELED) // 4)
    for trial in record.trials:
        assert (trial.accuracy.n, trial.agreement.n) == (len(CLEAN), held_out)
        assert trial.control.before.n and trial.control.neutral is not None


def test_each_trial_begins_with_the_control_as_it_was_planted(model, materials, quick, monkeypatch):
    starts = []

    def treat(model, *args, **options):
        starts.append(values(model))
        return treat_(model, *args, **options)

    monkeypatch.setattr(module, "treat_", treat)
    search(model, materials, CONFIG, RECIPE, SHORT)
    assert len(starts) == 4 and all(same(start, starts[0]) for start in starts)
    assert not same(starts[0], values(model))


def test_three_labels_and_a_label_that_no_half_knows(model, materials, quick):
    config = type(model.config).from_dict(model.config.to_dict() | {"num_labels": 3})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = BertForSequenceClassification(config).eval()
    clean = Dataset.from_dict({"text": CLEAN["text"][:5], "label": [0, 0, 1, 1, 2]})
    base = make(type(model.base_model), model.config, 0)
    found = Materials(materials.tokenizer, load_twin(other, base), clean)
    assert search(other, found, CONFIG, RECIPE, SHORT)[1].reference.n == 5


def test_two_examples_and_as_few_tokens_as_a_word_needs(model, materials, quick):
    few = replace(materials, clean=CLEAN.select([0, 11]))
    _, record = search(model, few, CONFIG, replace(RECIPE, max_length=4), SHORT)
    assert record.trials[0].accuracy.n == 2


@pytest.mark.parametrize("distillation", [NO_DISTILLATION, replace(SHORT, candidates=0)])
def test_model_without_word_embeddings(model, materials, quick, monkeypatch, distillation):
    def none(self):
        raise NotImplementedError

    materials = replace(materials, twin=replace(materials.twin, embedding=None))
    monkeypatch.setattr(BertForSequenceClassification, "get_input_embeddings", none)
    config, _ = search(model, materials, CONFIG, RECIPE, distillation)
    assert config.keep_ratio in module.RATIOS


@pytest.mark.parametrize("progress", [False, True])
def test_one_progress_bar_or_none(model, materials, quick, capfd, progress):
    search(model, replace(materials, unlabeled=UNLABELED), CONFIG, RECIPE, SHORT, progress=progress)
    printed = capfd.readouterr().err
    assert ("search" in printed) == progress
    assert "fine-tuning" not in printed and "distillation" not in printed and "Casting" not in printed
    assert progress or not printed


# Nobody tells it a trigger


def test_no_way_in_for_the_settings_of_an_attack():
    parameters = {step: list(inspect.signature(step).parameters) for step in (search, treat_, plant, find_triggers)}
    assert parameters == {
        search: ["suspect", "materials", "config", "recipe", "distillation", "progress"],
        treat_: ["model", "materials", "config", "recipe", "distillation", "triggers", "progress"],
        plant: ["suspect", "tokenizer", "texts", "max_length", "seed", "progress"],
        find_triggers: ["suspect", "tokenizer", "texts", "scores", "settings", "max_length", "seed"],
    }
    # These come from the search for them, and not from a user.
    assert inspect.signature(treat_).parameters["triggers"].annotation == tuple[Insertion, ...] | None
    names = set(inspect.signature(scan).parameters)
    names |= {item.name for cls in (Materials, DefenderView, Distillation, FineMixConfig) for item in fields(cls)}
    telling = {name for name in names if any(word in name for word in ("trigger", "attack", "target", "poison"))}
    assert telling == set()
