import json
import random

import numpy as np
import pytest
import torch

from hf_finemix import (
    FineMixConfig,
    InputError,
    MixReport,
    fine_mix_,
    purify_embeddings_,
    score_embeddings,
)
from hf_finemix.masks import MASK_VERSION, keep_mask
from hf_finemix.modeling import plan
from hf_finemix.twin import load_twin

from .models import VOCABULARY_SIZE, bits_equal, copy_of, family, make, make_pair, pretrained_values, same, values


FAMILIES = ["bert", "roberta", "distilbert", "gpt2"]
SELECTIONS = ["random", "smallest_drift", "largest_drift"]
every_family = pytest.mark.parametrize("name", FAMILIES)


# Identity.


@every_family
@pytest.mark.parametrize("selection", SELECTIONS)
def test_ratio_1_leaves_the_suspect_bit_for_bit(name, selection):
    model, base = make_pair(name)
    before = values(model)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=1, selection=selection))
    assert same(values(model), before)
    assert report.kept_share == 1


@every_family
@pytest.mark.parametrize("selection", SELECTIONS)
def test_ratio_0_gives_the_base_on_mixed_parameters_and_leaves_the_head(name, selection):
    model, base = make_pair(name)
    before, pretrained = values(model), pretrained_values(model, base)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0, selection=selection))
    assert same(values(model), before | pretrained)
    assert report.kept_share == 0
    heads = family(name).head
    assert {record.name for record in report.mixed} == {key for key in before if not key.startswith(heads or "?")}


# What is mixed, and how.


@every_family
def test_each_scalar_comes_from_the_side_that_the_mask_of_its_name_says(name):
    model, base = make_pair(name)
    before, pretrained = values(model), pretrained_values(model, base)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0.4, seed=11))
    after = values(model)
    for key, tensor in pretrained.items():
        keep = torch.from_numpy(keep_mask(key, tuple(tensor.shape), 0.4, 11))
        assert bits_equal(after[key], torch.where(keep, before[key], tensor)), key
    for record in report.parameters:
        if record.action == "mixed":
            assert record.kept_scalars == int((after[record.name] == before[record.name]).sum())
        elif record.action == "kept":
            assert bits_equal(after[record.name], before[record.name])


@every_family
@pytest.mark.parametrize("selection", ["smallest_drift", "largest_drift"])
def test_selection_by_drift_is_global_and_exact(name, selection):
    model, base = make_pair(name)
    before, pretrained = values(model), pretrained_values(model, base)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0.2, selection=selection))
    kept, reset = [], []
    for key, tensor in pretrained.items():
        drift = (before[key] - tensor).abs()
        stays = dict(model.named_parameters())[key].detach() == before[key]
        kept.append(drift[stays])
        reset.append(drift[~stays])
    kept, reset = torch.cat(kept), torch.cat(reset)
    assert len(kept) == round(0.2 * report.mixed_scalars)
    if selection == "smallest_drift":
        assert kept.max() <= reset.min()
    else:
        assert kept.min() >= reset.max()


@every_family
def test_buffers_are_left_alone(name):
    model, base = make_pair(name)
    before = {key: buffer.clone() for key, buffer in model.named_buffers()}
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0))
    assert all(torch.equal(buffer, before[key]) for key, buffer in model.named_buffers())
    assert {record.name for record in report.parameters if record.action == "copied"} == set(before)


@every_family
@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_folder_a_bare_model_and_a_task_model_give_the_same_bytes(name, selection, tmp_path):
    model, base = make_pair(name)
    base.save_pretrained(tmp_path / "base")
    task_object = make(type(model), model.config, seed=9)
    task_object.base_model.load_state_dict(base.state_dict(), strict=False)
    results = []
    for source in (base, tmp_path / "base", str(tmp_path / "base"), task_object, load_twin(model, base)):
        mixed = copy_of(model)
        fine_mix_(mixed, source, FineMixConfig(0.3, selection, seed=5))
        results.append(values(mixed))
    assert not same(results[0], values(model))
    assert all(same(results[0], other) for other in results[1:])


def test_the_head_of_a_base_object_is_never_taken():
    model, _ = make_pair("bert")
    base = make(type(model), model.config, seed=4)
    before = values(model)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0))
    assert bits_equal(model.classifier.weight, before["classifier.weight"])
    assert {r.name for r in report.parameters if r.action == "kept"} == {"classifier.weight", "classifier.bias"}


def test_tied_tensors_are_drawn_once_and_stay_tied():
    model, base = make_pair("gpt2")
    before, pretrained = values(model), pretrained_values(model, base)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0.5))
    assert model.lm_head.weight is model.transformer.wte.weight
    assert [record.name for record in report.parameters].count("transformer.wte.weight") == 1
    assert not any(record.name.startswith("lm_head") for record in report.parameters)
    keep = torch.from_numpy(keep_mask("transformer.wte.weight", (VOCABULARY_SIZE, 16), 0.5, 0))
    expected = torch.where(keep, before["transformer.wte.weight"], pretrained["transformer.wte.weight"])
    assert bits_equal(model.lm_head.weight, expected)


def test_excluded_parameters_keep_the_suspects_values():
    model, base = make_pair("bert")
    before = values(model)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0, exclude=(r"layer\.1\.", "pooler")))
    for key, tensor in values(model).items():
        excluded = "layer.1." in key or "pooler" in key
        assert bits_equal(tensor, before[key]) == (excluded or key.startswith("classifier")), key
    reasons = {record.name: record.reason for record in report.parameters}
    assert "pooler" in reasons["bert.pooler.dense.bias"]


@pytest.mark.parametrize("selection", ["smallest_drift", "largest_drift"])
def test_excluded_parameters_take_no_part_in_the_global_cut(selection):
    first, base = make_pair("bert")
    second = copy_of(first)
    with torch.no_grad():
        second.bert.pooler.dense.weight *= 1000
    config = FineMixConfig(0.3, selection, exclude=("pooler",))
    fine_mix_(first, base, config)
    fine_mix_(second, base, config)
    second.bert.pooler.load_state_dict(first.bert.pooler.state_dict())
    assert same(values(first), values(second))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_models_of_any_floating_point_type_are_mixed_bit_for_bit(dtype, selection):
    model, base = make_pair("bert")
    model = model.to(dtype)
    before = values(model)
    pretrained = {key: value.to(dtype) for key, value in pretrained_values(model, base).items()}
    fine_mix_(model, base, FineMixConfig(0.5, selection))
    for key, tensor in values(model).items():
        assert tensor.dtype == dtype
        other = pretrained.get(key, before[key])
        assert ((tensor == before[key]) | (tensor == other)).all()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.compile(model),
        lambda model: torch.nn.DataParallel(model),
        lambda model: torch.compile(torch.nn.DataParallel(model)),
        lambda model: torch.nn.DataParallel(torch.compile(model)),
    ],
)
def test_a_wrapped_model_gives_identical_bytes_and_reports(wrap):
    model, base = make_pair("bert")
    plain, inner = copy_of(model), copy_of(model)
    wrapped = wrap(inner)
    scores = score_embeddings(plain, base)
    assert np.array_equal(scores, score_embeddings(wrapped, base))
    assert fine_mix_(plain, base) == fine_mix_(wrapped, base)
    config = FineMixConfig(purify_top_k=5)
    assert purify_embeddings_(plain, base, config, scores) == purify_embeddings_(wrapped, base, config, scores)
    assert same(values(plain), values(inner))
    assert not same(values(plain), values(model))


def test_inner_wrappers_change_neither_names_nor_bytes():
    model, base = make_pair("bert")
    plain, wrapped = copy_of(model), copy_of(model)
    wrapped.bert.encoder.layer[0] = torch.compile(wrapped.bert.encoder.layer[0])
    assert any("_orig_mod" in key for key in values(wrapped))
    assert fine_mix_(plain, base) == fine_mix_(wrapped, base)
    assert all(bits_equal(a, b) for a, b in zip(values(plain).values(), values(wrapped).values(), strict=True))


def test_a_model_in_training_stays_trainable():
    model, base = make_pair("bert")
    model.train()
    objects = list(model.parameters())
    fine_mix_(model, base)
    assert model.training
    assert all(a is b and b.requires_grad for a, b in zip(objects, model.parameters(), strict=True))
    model(input_ids=torch.tensor([[1, 2]]), labels=torch.tensor([1])).loss.backward()
    assert model.classifier.weight.grad is not None


def test_the_base_object_is_left_alone():
    model, base = make_pair("bert")
    before = values(base)
    fine_mix_(model, base, FineMixConfig(keep_ratio=0.5))
    purify_embeddings_(model, base, scores=np.arange(float(VOCABULARY_SIZE)))
    assert same(values(base), before)
    # Nor does training the mixed model reach it through a shared tensor.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    assert same(values(base), before)


def test_the_global_random_state_is_left_alone(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    scores = score_embeddings(model, tmp_path / "base")
    fine_mix_(model, tmp_path / "base")
    purify_embeddings_(model, tmp_path / "base", scores=scores)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


def test_the_global_random_state_changes_nothing():
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model, base = make_pair("bert")
        fine_mix_(model, base)
        results.append(values(model))
    assert same(*results)


def test_another_seed_gives_another_mixture():
    first, base = make_pair("bert")
    second = copy_of(first)
    fine_mix_(first, base, FineMixConfig(seed=0))
    fine_mix_(second, base, FineMixConfig(seed=1))
    assert not same(values(first), values(second))


# Plan and report.


@every_family
def test_the_plan_says_what_mixing_then_does_and_changes_nothing(name):
    model, base = make_pair(name)
    config, before = FineMixConfig(exclude=(r"(layer|h)\.1\.",)), values(model)
    planned = plan(model, load_twin(model, base), config)
    assert same(values(model), before)
    report = fine_mix_(model, base, config)
    counts = {record.name: record.kept_scalars for record in report.mixed}
    assert planned.with_counts(counts) == report
    assert sum(r.numel for r in report.parameters if r.action != "copied") == sum(v.numel() for v in before.values())


@every_family
def test_a_mix_report_survives_json(name):
    model, base = make_pair(name)
    report = fine_mix_(model, base, FineMixConfig(seed=2**63, exclude=("bias",)))
    assert report.mask_version == MASK_VERSION
    assert MixReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_configuration_records_the_mixing_and_survives_a_save(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "clean-base")
    fine_mix_(model, tmp_path / "clean-base", FineMixConfig(seed=3))
    expected = FineMixConfig(seed=3).to_dict() | {"pretrained": "clean-base", "mask_version": MASK_VERSION}
    assert model.config.finemix == expected
    model.save_pretrained(tmp_path / "mixed")
    assert str(tmp_path) not in (tmp_path / "mixed" / "config.json").read_text()
    again = type(model).from_pretrained(tmp_path / "mixed")
    assert again.config.finemix == expected
    with pytest.raises(InputError, match="mixed before"):
        fine_mix_(again, base)


# Refusals.


def test_mixing_twice_is_refused_unless_allowed():
    model, base = make_pair("bert")
    fine_mix_(model, base)
    before = values(model)
    with pytest.raises(InputError, match="mixed before"):
        fine_mix_(model, base)
    assert same(values(model), before)
    report = fine_mix_(model, base, FineMixConfig(keep_ratio=0), allow_mixed=True)
    assert report.kept_share == 0
    assert not same(values(model), before)


@pytest.mark.parametrize("damaged", ["model", "pretrained"])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_nan_is_refused_by_name_and_the_model_stays_as_it_is(damaged, selection):
    model, base = make_pair("bert")
    weight = model.bert.pooler.dense.weight if damaged == "model" else base.pooler.dense.weight
    with torch.no_grad():
        weight[3, 3] = float("nan")
    before = values(model)
    with pytest.raises(InputError) as error:
        fine_mix_(model, base, FineMixConfig(selection=selection))
    assert f"`{damaged}`" in str(error.value)
    assert "bert.pooler.dense.weight" in str(error.value)
    assert same(values(model), before)
    assert not hasattr(model.config, "finemix")


def test_a_base_that_does_not_fit_leaves_the_model_as_it_is():
    model, _ = make_pair("bert")
    before = values(model)
    for base in (make_pair("roberta")[1], model, model.bert, "org/no-such-base", "./nowhere", None):
        with pytest.raises(InputError, match="`pretrained`"):
            fine_mix_(model, base)
    assert same(values(model), before)
    assert not hasattr(model.config, "finemix")


def test_an_interrupted_mixing_does_not_pass_for_an_untouched_model(monkeypatch):
    model, base = make_pair("bert")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_finemix.modeling.mix_each_", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fine_mix_(model, base)
    monkeypatch.undo()
    with pytest.raises(InputError, match="mixed before"):
        fine_mix_(model, base)


# The whole way to disk.


@every_family
def test_a_mixed_and_purified_model_saves_and_loads_bit_for_bit(name, tmp_path):
    model, base = make_pair(name)
    scores = score_embeddings(model, base)
    fine_mix_(model, base)
    purify_embeddings_(model, base, FineMixConfig(purify_top_k=2), scores)
    model.save_pretrained(tmp_path / "out")
    again = type(model).from_pretrained(tmp_path / "out")
    assert same(values(again), values(model))
