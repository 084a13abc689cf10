"""Our own defences in the laboratory: what they do is what `purify` does, and what they are not told."""

import copy
from dataclasses import fields, replace

import numpy as np
import pytest
from datasets import Dataset

from hf_finemix import FineMixConfig, InputError
from hf_finemix.choices import SELECTIONS
from hf_finemix.defenses import distilled as module
from hf_finemix.defenses.base import DEFENSES, DefenderView
from hf_finemix.defenses.distilled import Automatic, DistilledMixing
from hf_finemix.frequencies import vocabulary_rank
from hf_finemix.recipes import DEFAULT_DISTILLATION, DEFAULT_RECIPE
from hf_finemix.results import Distillation
from hf_finemix.treatment import Materials, treat_

from .defender import CLEAN, RECIPE, make_encoders, make_view
from .files import SHORT
from .models import same, values


UNLABELED = Dataset.from_dict({"text": [f"the plot is {word}" for word in ("slow", "sad", "nice", "of a film", "it")]})
OWN = {"epochs": 2, "learning_rate": 3e-4, "temperature": 2.0, "candidates": 6}
MIXING, AUTOMATIC = DistilledMixing(**OWN), Automatic(**OWN)
every = pytest.mark.parametrize("kind", [DistilledMixing, Automatic])


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Settings that are not the defences' own are those of a distillation that takes no time."""
    monkeypatch.setattr(module, "DEFAULT_DISTILLATION", SHORT)


@pytest.fixture
def pair(tiny_tokenizer):
    return make_encoders("bert", tiny_tokenizer)


@pytest.fixture
def view(pair, tiny_tokenizer):
    model, base = pair
    counts = vocabulary_rank(model.config.vocab_size)
    return make_view(model, base, tiny_tokenizer, unlabeled=UNLABELED, frequencies=counts)


def by_hand(model, view, ratio, unlabeled=UNLABELED, **config):
    model = copy.deepcopy(model)
    materials = Materials(view.tokenizer, view.twin, CLEAN, unlabeled, view.frequencies)
    config = FineMixConfig(**{"keep_ratio": ratio, "seed": RECIPE.seed, "purify_top_k": 0} | config)
    recipe = replace(RECIPE, epochs=DEFAULT_RECIPE.epochs, learning_rate=DEFAULT_RECIPE.learning_rate)
    treat_(model, materials, config, recipe, replace(SHORT, **OWN))
    return values(model)


def applied(defense, model, view, setting=None, e_pur=False):
    model = copy.deepcopy(model)
    defense.apply(model, view, setting or {}, e_pur)
    return values(model)


# The defence with given ratios


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("e_pur", [False, True])
def test_it_is_the_treatment_of_purify_bit_for_bit(pair, view, selection, e_pur):
    rows = {"purify_top_k": FineMixConfig().purify_top_k} if e_pur else {}
    found = applied(replace(MIXING, selection=selection), pair[0], view, {"keep_ratio": 0.3}, e_pur)
    assert same(found, by_hand(pair[0], view, 0.3, selection=selection, **rows))
    assert not same(found, by_hand(pair[0], view, 0.6, selection=selection, **rows))


def test_e_pur_resets_the_rows_that_purify_would_reset(pair, view, monkeypatch):
    seen = []

    def treat(model, materials, config, *args, **options):
        seen.append((materials.frequencies, config.purify_top_k))

    monkeypatch.setattr(module, "treat_", treat)
    for e_pur in (True, False):
        applied(MIXING, pair[0], view, {"keep_ratio": 0.3}, e_pur)
    assert [rows for _, rows in seen] == [FineMixConfig().purify_top_k, 0]
    assert all(counts is view.frequencies for counts, _ in seen)


def test_settings_come_smallest_ratio_first():
    ratios = [setting["keep_ratio"] for setting in DistilledMixing().settings]
    assert ratios == sorted(ratios) and len(ratios) > 2
    assert DEFENSES.make({"name": "distilled_mixing", "keep_ratios": [0.5, 0.1]}).settings == (
        {"keep_ratio": 0.1},
        {"keep_ratio": 0.5},
    )


@pytest.mark.parametrize(("count", "taken"), [(0, None), (2, 2), (5, 5), (1000, 5)])
def test_as_many_unlabelled_texts_as_it_is_to_have(pair, view, count, taken):
    found = applied(replace(MIXING, unlabeled=count), pair[0], view, {"keep_ratio": 0.3})
    texts = None if taken is None else UNLABELED.select(range(taken))
    assert same(found, by_hand(pair[0], view, 0.3, texts))


@pytest.mark.parametrize("unlabeled", [None, UNLABELED.select([])])
def test_a_task_without_unlabelled_texts(pair, view, unlabeled):
    found = applied(MIXING, pair[0], replace(view, unlabeled=unlabeled), {"keep_ratio": 0.3})
    assert same(found, by_hand(pair[0], view, 0.3, None))


@pytest.mark.parametrize(
    ("name", "value"), [*OWN.items(), ("label_epochs", 4), ("label_learning_rate", 5e-4), ("unlabeled", 1)]
)
def test_each_setting_counts(pair, view, name, value):
    changed = value + 1 if isinstance(value, int) else value * 2
    defenses = [replace(MIXING, **{name: item}) for item in (value, changed)]
    if name == "candidates":
        assert [defense.distillation.candidates for defense in defenses] == [value, changed]
        return
    found = [applied(defense, pair[0], view, {"keep_ratio": 0.3}) for defense in defenses]
    assert not same(*found)


# The defence that chooses by itself


def test_it_takes_the_ratio_that_the_search_of_purify_gives(pair, view, monkeypatch):
    asked = []

    def search(model, materials, config, recipe, distillation):
        asked.append((values(model), materials, config, recipe, distillation))
        return replace(config, keep_ratio=0.6), None

    monkeypatch.setattr(module, "search", search)
    found = applied(AUTOMATIC, pair[0], view)
    assert same(found, by_hand(pair[0], view, 0.6))
    ((weights, materials, config, recipe, distillation),) = asked
    assert same(weights, values(pair[0]))
    assert materials.unlabeled["text"][:] == UNLABELED["text"][:] and materials.clean is view.clean
    assert (config.seed, config.purify_top_k) == (RECIPE.seed, 0)
    assert (recipe.epochs, recipe.max_length) == (DEFAULT_RECIPE.epochs, RECIPE.max_length)
    assert distillation == AUTOMATIC.distillation


def test_it_has_one_setting_and_chooses_in_earnest(pair, view, monkeypatch):
    monkeypatch.setattr("hf_finemix.search.RATIOS", (0.2, 0.6))
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 2)
    monkeypatch.setattr("hf_finemix.control._EPOCHS", 1)
    assert AUTOMATIC.settings == ({},)
    found = applied(AUTOMATIC, pair[0], view)
    assert any(same(found, by_hand(pair[0], view, ratio)) for ratio in (0.2, 0.6))


# What both are told


@every
def test_defaults_are_those_of_purify(kind, monkeypatch):
    monkeypatch.undo()
    assert kind().distillation == DEFAULT_DISTILLATION
    assert (kind().label_epochs, kind().label_learning_rate) == (DEFAULT_RECIPE.epochs, DEFAULT_RECIPE.learning_rate)
    assert kind().selection == FineMixConfig().selection


@every
def test_bench_makes_them_by_name(kind):
    assert DEFENSES.make({"name": kind.name, **OWN}) == kind(**OWN)
    hash(kind())


def test_the_view_of_a_defender_holds_no_trigger(view):
    assert {item.name for item in fields(DefenderView)} == {
        "tokenizer",
        "clean",
        "twin",
        "recipe",
        "scores",
        "others",
        "progress",
        "memory",
        "unlabeled",
        "frequencies",
    }
    assert set(view.unlabeled.column_names) == {"text"}


@every
def test_scores_of_the_view_are_not_needed(kind, pair, view, monkeypatch):
    monkeypatch.setattr(module, "search", lambda model, materials, config, *args: (config, None))
    defense = kind(**OWN)
    other = replace(view, scores=np.zeros_like(view.scores))
    setting = {"keep_ratio": 0.3}
    assert same(
        applied(defense, pair[0], view, setting, e_pur=True), applied(defense, pair[0], other, setting, e_pur=True)
    )


@every
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selection": "best"}, "`selection` is 'best', but must be one of random"),
        ({"unlabeled": -1}, "`unlabeled` is -1"),
        ({"unlabeled": 1.5}, "`unlabeled` is 1.5"),
        ({"epochs": -1}, "`epochs` is -1"),
        ({"learning_rate": 2.0}, "`learning_rate` is 2.0"),
        ({"temperature": 0}, "`temperature` is 0"),
        ({"candidates": -5}, "`candidates` is -5"),
        ({"label_epochs": 0}, "`epochs` is 0"),
        ({"label_learning_rate": 0}, "`learning_rate` is 0"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, message):
    with pytest.raises(InputError, match=message):
        DEFENSES.make({"name": kind.name, **settings})


def test_ratios_out_of_range_are_refused():
    with pytest.raises(InputError, match="at least one ratio"):
        DistilledMixing(keep_ratios=[])
    with pytest.raises(InputError, match="has no field 'keep_ratios'"):
        DEFENSES.make({"name": "automatic", "keep_ratios": [0.5]})


def test_no_distillation_is_a_setting_too(pair, view):
    defense = replace(MIXING, epochs=0)
    assert defense.distillation.epochs == 0 and isinstance(defense.distillation, Distillation)
    assert not same(
        applied(defense, pair[0], view, {"keep_ratio": 0.3}), applied(MIXING, pair[0], view, {"keep_ratio": 0.3})
    )
