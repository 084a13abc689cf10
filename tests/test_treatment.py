"""A purification in memory: its steps, their order, and what each of them is given."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_finemix import FineMixConfig, InputError, fine_mix_
from hf_finemix.distillation import distil, prepare_lessons
from hf_finemix.evaluation import compute_logits
from hf_finemix.modeling import purify_embeddings_, score_embeddings
from hf_finemix.recipes import NO_DISTILLATION
from hf_finemix.recompute import mixed_tensors
from hf_finemix.training import fine_tune
from hf_finemix.treatment import Materials, suspicion, treat_
from hf_finemix.trigger_finding import find_triggers
from hf_finemix.twin import load_twin

from .defender import CLEAN, RECIPE
from .files import SHORT
from .lessons import make_suspect
from .models import bits_equal, make, same, values


CONFIG = FineMixConfig(keep_ratio=0.5, seed=4, purify_top_k=5)
# Some token of those that are tried is taken for a trigger.
EAGER = replace(SHORT, flips=0.0)
UNLABELED = Dataset.from_dict({"text": ["the plot is slow and dull", "a film with good music", "we love it"]})
NAME = "bert.embeddings.word_embeddings.weight"


@pytest.fixture
def model(tiny_tokenizer):
    return make_suspect(tiny_tokenizer)


@pytest.fixture
def base(model):
    return make(type(model.base_model), model.config, 0)


@pytest.fixture
def materials(model, base, tiny_tokenizer):
    return Materials(tiny_tokenizer, load_twin(model, base), CLEAN)


def treated(model, materials, config=CONFIG, recipe=RECIPE, distillation=SHORT):
    """What is done to a copy of the suspect, and the copy."""
    model = copy.deepcopy(model)
    return model, treat_(model, materials, config, recipe, distillation)


# Texts


def test_labelled_texts_come_first_and_without_their_labels(materials):
    texts = replace(materials, unlabeled=UNLABELED).texts
    assert texts.column_names == ["text"]
    assert texts["text"][:] == [*CLEAN["text"], *UNLABELED["text"]]
    assert materials.texts["text"][:] == CLEAN["text"][:]


def test_pairs_stay_pairs(materials):
    clean = CLEAN.add_column("text_pair", ["the scene is nice"] * len(CLEAN))
    unlabeled = UNLABELED.add_column("text_pair", ["it is not"] * len(UNLABELED))
    texts = replace(materials, clean=clean, unlabeled=unlabeled).texts
    assert set(texts.column_names) == {"text", "text_pair"} and texts[-1]["text_pair"] == "it is not"


# The steps


@pytest.mark.parametrize("selection", ["random", "smallest_drift"])
def test_without_distillation_it_is_mixing_and_fine_tuning_bit_for_bit(model, base, materials, selection):
    config = replace(CONFIG, selection=selection)
    done, treatment = treated(model, materials, config, distillation=NO_DISTILLATION)
    tokenizer = materials.tokenizer
    scores = score_embeddings(model, base, tokenizer=tokenizer)
    mix = fine_mix_(model, base, config)
    purify = purify_embeddings_(model, base, config, scores, tokenizer=tokenizer)
    tensors = mixed_tensors(model, mix, purify)
    fine_tune(model, tokenizer, CLEAN, RECIPE)
    assert same(values(done), values(model)) and not done.training
    assert treatment.purify == purify and len(purify.tokens) == 5
    assert treatment.tensors == tensors and treatment.lessons is None
    assert treatment.mix.parameters == mix.parameters


def test_distillation_stands_between_mixing_and_fine_tuning(model, base, materials):
    materials, tokenizer = replace(materials, unlabeled=UNLABELED), materials.tokenizer
    done, treatment = treated(model, materials, distillation=EAGER)
    scores = score_embeddings(model, base, tokenizer=tokenizer)
    options = {"max_length": RECIPE.max_length, "seed": RECIPE.seed}
    triggers = find_triggers(model, tokenizer, materials.texts, scores, EAGER, **options)
    lessons = prepare_lessons(model, tokenizer, materials.texts, triggers, EAGER, **options)
    mix = fine_mix_(model, base, CONFIG)
    purify = purify_embeddings_(model, base, CONFIG, scores, tokenizer=tokenizer)
    tensors = mixed_tensors(model, mix, purify)
    distil(model, tokenizer, lessons, EAGER, seed=RECIPE.seed)
    fine_tune(model, tokenizer, CLEAN, RECIPE)
    assert same(values(done), values(model))
    # What was mixed is recorded as it was before any training.
    assert treatment.tensors == tensors != mixed_tensors(done, mix, purify)
    assert treatment.lessons.triggers == triggers and len(triggers) > 0
    assert np.array_equal(treatment.lessons.answers, lessons.answers)


def test_it_is_the_suspect_that_answers(model, materials):
    _, treatment = treated(model, materials)
    answers = compute_logits(model, materials.tokenizer, treatment.lessons.inputs)
    assert np.array_equal(treatment.lessons.answers, answers)


def test_unlabelled_texts_change_the_result(model, materials):
    without, _ = treated(model, materials)
    with_texts, treatment = treated(model, replace(materials, unlabeled=UNLABELED))
    assert len(treatment.lessons.rows) + treatment.lessons.left_out == len(CLEAN) + len(UNLABELED)
    assert not same(values(without), values(with_texts))


@pytest.mark.parametrize("distillation", [SHORT, NO_DISTILLATION])
def test_without_labels_nothing_is_fine_tuned(model, materials, distillation, monkeypatch):
    monkeypatch.setattr("hf_finemix.treatment.fine_tune", None)
    materials = replace(materials, clean=CLEAN.select([]), unlabeled=UNLABELED)
    done, treatment = treated(model, materials, distillation=distillation)
    fine_mix_(model, materials.twin, replace(CONFIG, purify_top_k=0))
    name = "bert.encoder.layer.0.output.dense.weight"
    is_only_mixed = bits_equal(values(done)[name], values(model)[name])
    assert is_only_mixed == (not distillation.epochs)
    assert (treatment.lessons is None) == is_only_mixed


@pytest.mark.parametrize("distillation", [SHORT, NO_DISTILLATION])
def test_the_same_inputs_give_the_same_bits(model, materials, distillation):
    first, one = treated(model, materials, distillation=distillation)
    torch.rand(7)
    np.random.rand(7)
    second, two = treated(model, materials, distillation=distillation)
    assert same(values(first), values(second)) and one.tensors == two.tensors
    other, _ = treated(model, materials, recipe=replace(RECIPE, seed=9), distillation=distillation)
    assert not same(values(first), values(other))


def test_inputs_are_left_alone(model, materials):
    twin = {name: tensor.clone() for name, tensor in materials.twin.tensors.items()}
    before = values(model)
    treated(model, replace(materials, unlabeled=UNLABELED), distillation=EAGER)
    assert same(dict(materials.twin.tensors), twin) and same(values(model), before)


# Suspicious embeddings


def test_triggers_are_looked_for_where_no_row_is_to_be_reset(model, materials):
    _, treatment = treated(model, materials, replace(CONFIG, purify_top_k=0), distillation=EAGER)
    assert treatment.purify.applicable and treatment.purify.tokens == () and treatment.lessons.triggers
    assert treatment.purify.embedding == NAME


def test_no_candidates_no_search(model, materials, monkeypatch):
    monkeypatch.setattr("hf_finemix.treatment.find_triggers", None)
    _, treatment = treated(model, materials, distillation=replace(EAGER, candidates=0))
    assert treatment.lessons.triggers == () and len(treatment.purify.tokens) == 5


def test_model_without_word_embeddings(model, materials, monkeypatch):
    monkeypatch.setattr("hf_finemix.treatment.find_triggers", None)
    materials = replace(materials, twin=replace(materials.twin, embedding=None))
    assert suspicion(model, materials, CONFIG, RECIPE) is None
    done, treatment = treated(model, materials, distillation=EAGER)
    assert not treatment.purify.applicable and treatment.purify.tokens == ()
    assert treatment.lessons.triggers == () and len(treatment.lessons.rows) == len(CLEAN)
    assert not same(values(done), values(model))


def test_counts_at_hand_go_before_those_of_the_recipe(model, materials):
    counts = np.full(len(materials.tokenizer), 100.0)
    nowhere = replace(RECIPE, frequencies="nowhere.txt")
    found = suspicion(model, replace(materials, frequencies=counts), CONFIG, nowhere)
    assert np.array_equal(found, score_embeddings(model, materials.twin, counts))
    assert not np.array_equal(found, suspicion(model, materials, CONFIG, RECIPE))
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        suspicion(model, materials, CONFIG, nowhere)


def test_floor_of_the_counts_is_that_of_the_settings(model, materials):
    materials = replace(materials, frequencies=np.ones(len(materials.tokenizer)))
    low, high = (suspicion(model, materials, replace(CONFIG, frequency_floor=floor), RECIPE) for floor in (20, 400))
    assert np.allclose(low / high, np.log(400) / np.log(20))


# What is refused


@pytest.mark.parametrize("name", [NAME, "bert.encoder.layer.1.output.dense.weight"])
def test_a_model_that_cannot_be_mixed_is_unchanged(model, materials, name):
    with torch.no_grad():
        dict(model.named_parameters())[name].view(-1)[0] = float("inf")
    before, mode = values(model), model.training
    settings = replace(SHORT, epochs=0)
    with pytest.raises(InputError, match="infinity"):
        treat_(model, materials, CONFIG, RECIPE, settings)
    assert same(values(model), before) and model.training == mode


def test_a_model_that_was_mixed_is_refused(model, materials):
    fine_mix_(model, materials.twin, CONFIG)
    before = values(model)
    with pytest.raises(InputError, match="mixed before"):
        treat_(model, materials, CONFIG, RECIPE, SHORT)
    assert same(values(model), before)
