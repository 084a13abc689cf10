"""What all defences share: the registry, settings, E-PUR before the fine-tuning; and the simplest of them."""

import copy
import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch

from hf_finemix import FineMixConfig, InputError, fine_mix_
from hf_finemix.attacks.base import ATTACKS, Attack, register_attack
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.choices import SELECTIONS
from hf_finemix.defenses import base as defenses_base
from hf_finemix.defenses import distilled, registered  # noqa: F401
from hf_finemix.defenses.base import DEFENSES, Defense, register_defense
from hf_finemix.defenses.mixing import FineMixing
from hf_finemix.defenses.tuning import FineTuning, HighRateFineTuning, NoDefense
from hf_finemix.training import fine_tune

from .defender import CLEAN, RECIPE, make_encoders, make_view
from .files import SHORT
from .models import bits_equal, make, same, values


TOP = 5
EMBEDDING = "bert.embeddings.word_embeddings.weight"
every_defense = pytest.mark.parametrize("name", DEFENSES.names)
# Those that go the way of all defences: alter, E-PUR, fine-tuning.
ordinary = [name for name, kind in DEFENSES._classes.items() if kind.apply is Defense.apply]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Distillation and search by default take too long here."""
    monkeypatch.setattr(distilled, "DEFAULT_DISTILLATION", SHORT)
    monkeypatch.setattr("hf_finemix.search.RATIOS", (0.1, 0.5))


@pytest.fixture
def pair(tiny_tokenizer):
    return make_encoders("bert", tiny_tokenizer)


@pytest.fixture
def view(pair, tiny_tokenizer):
    model, base = pair
    return make_view(model, base, tiny_tokenizer, others=[make(type(model), model.config, 7)])


@pytest.fixture
def registries(monkeypatch):
    """What is registered in a test is forgotten after it."""
    for registry in (DEFENSES, ATTACKS):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))


@pytest.fixture
def few_rows(monkeypatch):
    """E-PUR resets fewer rows than the tiny vocabulary has."""
    monkeypatch.setattr(defenses_base, "FineMixConfig", partial(FineMixConfig, purify_top_k=TOP))


def define(**attributes):
    """A new defence of that name, not registered."""
    return dataclass(frozen=True)(type("Shrinking", (Defense,), attributes))


# The registry.


def test_a_third_partys_defence_is_made_and_runs(registries, pair, view):
    model, _ = pair

    @register_defense
    @dataclass(frozen=True)
    class Shrinking(Defense):
        name: ClassVar[str] = "shrinking"

        keep_ratios: tuple[float, ...] = (0.5,)

        def alter(self, model, view, setting):
            for parameter in model.parameters():
                parameter *= setting["keep_ratio"]

        def fine_tune(self, model, view, setting):
            pass

    before = values(model)
    defense = DEFENSES.make({"name": "shrinking", "keep_ratios": [0.25]})
    assert isinstance(defense, Shrinking)
    assert DEFENSES.names[-1] == "shrinking"
    defense.apply(model, view, defense.settings[0], e_pur=False)
    assert same(values(model), {key: 0.25 * tensor for key, tensor in before.items()})


def test_a_third_partys_attack_is_made_and_poisons(registries):
    @register_attack
    @dataclass(frozen=True)
    class Shouting(Attack):
        name: ClassVar[str] = "shouting"

        shout: str = "hey"

        @property
        def triggers(self):
            return (Trigger(self.shout, self.target_label, "end"),)

    attack = ATTACKS.make({"name": "shouting", "shout": "ho", "poison_rate": 0.5})
    assert attack == Shouting(shout="ho", poison_rate=0.5)
    poisoned = attack.poison(CLEAN)
    copies = poisoned.filter(lambda row: row["text"].endswith(" ho"))
    assert len(poisoned) == len(CLEAN) + 6
    assert list(copies["label"]) == [1] * 6
    assert attack.trigger({"text": "a", "label": 0}) == {"text": "a ho", "label": 0}


def test_a_name_that_is_taken_is_refused(registries):
    with pytest.raises(InputError, match="`name` 'fine_mixing' is taken by the defense FineMixing; choose another"):
        register_defense(define(name="fine_mixing"))
    assert DEFENSES.make({"name": "fine_mixing"}) == FineMixing()


def test_the_same_class_may_be_registered_again(registries):
    before = DEFENSES.names
    assert register_defense(FineTuning) is FineTuning
    assert DEFENSES.names == before


@pytest.mark.parametrize("name", [None, "", "Fine", "fine-mixing", "2fast", "fine mixing", "müll", 3])
def test_a_name_that_is_no_identifier_is_refused(name, registries):
    with pytest.raises(InputError, match=r"Shrinking has the `name` .*lower-case letters, digits and `_`"):
        register_defense(define(name=name))


@pytest.mark.parametrize("thing", [int, Attack, "fine_mixing", FineTuning()])
def test_anything_but_a_subclass_is_refused(thing, registries):
    with pytest.raises(InputError, match="cannot be registered: a defense is a subclass of Defense"):
        register_defense(thing)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"Unknown defense 'fine_mixin'; did you mean 'fine_mixing'\?"):
        DEFENSES.make({"name": "fine_mixin"})
    with pytest.raises(InputError, match=r"Unknown defense 3; known ones are .*fine_tuning"):
        DEFENSES.make({"name": 3})


@pytest.mark.parametrize("name", [["fine_mixing"], {"a": 1}])
def test_a_name_that_cannot_be_looked_up_is_unknown(name):
    with pytest.raises(InputError, match="Unknown defense"):
        DEFENSES.make({"name": name})


def test_an_unknown_field_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'fine_mixing' has no field 'keep_ratio'; did you mean 'keep_ratios'\?"):
        DEFENSES.make({"name": "fine_mixing", "keep_ratio": 0.5})


def test_a_field_without_a_value_is_refused(registries):
    @register_defense
    @dataclass(frozen=True)
    class Needy(Defense):
        name: ClassVar[str] = "needy"

        strength: float

    with pytest.raises(InputError, match=r"The defense 'needy' cannot be made: .*'strength'"):
        DEFENSES.make({"name": "needy"})


def test_making_leaves_the_settings_alone():
    settings = {"name": "fine_mixing", "keep_ratios": [0.2]}
    DEFENSES.make(settings)
    assert settings == {"name": "fine_mixing", "keep_ratios": [0.2]}


# Settings.


@every_defense
def test_settings_come_strongest_first(name):
    defense = DEFENSES.make({"name": name})
    assert defense.settings
    # What is kept of the suspect rises; a factor or a number of epochs falls.
    for key in defense.settings[0]:
        found = [setting[key] for setting in defense.settings]
        assert found == sorted(set(found), reverse=key != "keep_ratio")
    hash(defense)


@pytest.mark.parametrize("name", ["fine_mixing", "fine_pruning", "head_pruning", "wag"])
def test_ratios_may_come_as_a_list_in_any_order(name):
    defense = DEFENSES.make({"name": name, "keep_ratios": [0.9, 0, 0.4]})
    assert defense.settings == ({"keep_ratio": 0}, {"keep_ratio": 0.4}, {"keep_ratio": 0.9})
    hash(defense)


@pytest.mark.parametrize("ratios", [(), [], 0.5, (0.5, 0.5), None, "0.5"])
def test_anything_but_different_ratios_is_refused(ratios):
    with pytest.raises(InputError, match=r"`keep_ratios` is .*at least one ratio, all of them different"):
        FineMixing(keep_ratios=ratios)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan"), True, "a"])
def test_ratios_out_of_range_are_refused(ratio):
    with pytest.raises(InputError, match=f"`keep_ratio` is {ratio!r}, but must be a number from 0 to 1"):
        FineMixing(keep_ratios=(0.5, ratio))


@pytest.mark.parametrize("factors", [(), (1,), (2, 0.5), ("a",)])
def test_factors_that_raise_nothing_are_refused(factors):
    with pytest.raises(InputError, match=r"`factors` is .* numbers above 1"):
        HighRateFineTuning(factors)


# E-PUR.


@pytest.mark.parametrize("name", ordinary)
def test_e_pur_resets_the_highest_scores_before_the_fine_tuning(name, pair, view, few_rows):
    model, base = pair
    kind, starts = type(DEFENSES.make({"name": name})), []

    @dataclass(frozen=True)
    class Observed(kind):
        def fine_tune(self, model, view, setting):
            starts.append(values(model))
            super().fine_tune(model, view, setting)

    defense, plain = Observed(), copy.deepcopy(model)
    # Words of the clean examples: some defence may reset the others by itself.
    suspicious = view.tokenizer("the movie is and so", add_special_tokens=False)["input_ids"]
    assert len(suspicious) == TOP
    view.scores[suspicious] += 1
    reset = np.zeros(len(view.scores), dtype=bool)
    reset[suspicious] = True
    defense.apply(plain, view, defense.settings[-1], e_pur=False)
    defense.apply(model, view, defense.settings[-1], e_pur=True)
    without, with_e_pur = starts
    pretrained = base.embeddings.word_embeddings.weight
    assert bits_equal(with_e_pur[EMBEDDING][reset], pretrained[reset])
    assert not (without[EMBEDDING][reset] == pretrained[reset]).all()
    assert bits_equal(with_e_pur[EMBEDDING][~reset], without[EMBEDDING][~reset])
    assert same(with_e_pur | {EMBEDDING: 0 * pretrained}, without | {EMBEDDING: 0 * pretrained})
    assert same(values(model), with_e_pur) == (name == "none")
    assert not same(values(model), values(plain))


@every_defense
def test_a_defence_changes_the_suspect_alone(name, pair, view):
    model, base = pair
    saved = values(base), [values(other) for other in view.others], copy.deepcopy(view.scores)
    twin = {key: tensor.clone() for key, tensor in view.twin.tensors.items()}
    defense = DEFENSES.make({"name": name})
    defense.apply(copy.deepcopy(model), view, defense.settings[-1], e_pur=True)
    assert same(values(base), saved[0])
    assert all(same(values(other), before) for other, before in zip(view.others, saved[1], strict=True))
    assert np.array_equal(view.scores, saved[2])
    assert same(dict(view.twin.tensors), twin)
    assert view.recipe == RECIPE


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "automatic")) for name in DEFENSES.names]
)
def test_a_setting_gives_the_same_whatever_was_tried_before(name, pair, view):
    model, _ = pair
    defense = DEFENSES.make({"name": name})
    first, last = defense.settings[0], defense.settings[-1]
    alone, after = copy.deepcopy(model), copy.deepcopy(model)
    defense.apply(alone, dataclasses.replace(view, memory={}), last, e_pur=False)
    defense.apply(copy.deepcopy(model), view, first, e_pur=False)
    torch.rand(5)
    defense.apply(after, view, last, e_pur=False)
    assert same(values(alone), values(after))
    assert not after.training


# The simplest defences.


def test_none_changes_no_bit(pair, view):
    model, _ = pair
    before, config = values(model), model.config.to_dict()
    NoDefense().apply(model, view, {}, e_pur=False)
    assert same(values(model), before)
    assert model.config.to_dict() == config


def test_none_with_e_pur_changes_the_suspicious_rows_alone(pair, view, few_rows):
    model, _ = pair
    before = values(model)
    NoDefense().apply(model, view, {}, e_pur=True)
    after = values(model)
    rows = (after[EMBEDDING] != before[EMBEDDING]).any(1).nonzero().flatten()
    assert rows.tolist() == sorted(np.argsort(view.scores)[-TOP:].tolist())
    assert same(after | {EMBEDDING: rows}, before | {EMBEDDING: rows})


def test_fine_tuning_is_the_common_fine_tuning_bit_for_bit(pair, view):
    model, _ = pair
    by_hand = copy.deepcopy(model)
    FineTuning().apply(model, view, {}, e_pur=False)
    fine_tune(by_hand, view.tokenizer, CLEAN, RECIPE)
    assert same(values(model), values(by_hand))


def test_a_higher_rate_is_the_recipes_times_the_factor(pair, view):
    model, _ = pair
    by_hand, usual = copy.deepcopy(model), copy.deepcopy(model)
    HighRateFineTuning().apply(model, view, {"factor": 5}, e_pur=False)
    fine_tune(by_hand, view.tokenizer, CLEAN, dataclasses.replace(RECIPE, learning_rate=5e-3))
    FineTuning().apply(usual, view, {}, e_pur=False)
    assert same(values(model), values(by_hand))
    assert not same(values(model), values(usual))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_mixing_is_fine_mix_and_the_common_fine_tuning_bit_for_bit(selection, pair, view):
    model, base = pair
    by_hand, other_ratio = copy.deepcopy(model), copy.deepcopy(model)
    FineMixing(selection).apply(model, view, {"keep_ratio": 0.3}, e_pur=False)
    # The masks are drawn with the seed of the recipe.
    fine_mix_(by_hand, base, FineMixConfig(0.3, selection, seed=RECIPE.seed))
    fine_tune(by_hand, view.tokenizer, CLEAN, RECIPE)
    assert same(values(model), values(by_hand))
    FineMixing(selection).apply(other_ratio, view, {"keep_ratio": 0.5}, e_pur=False)
    assert not same(values(model), values(other_ratio))


def test_an_unknown_selection_is_refused():
    with pytest.raises(InputError, match="`selection` is 'some', but must be one of random, "):
        FineMixing("some")
