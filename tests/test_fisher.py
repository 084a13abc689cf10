"""Selection by Fisher information: the ranking, the estimate, and the defence that uses them."""

import copy

import numpy as np
import pytest
import torch

from hf_finemix import FineMixConfig, InputError, fine_mix_
from hf_finemix.cuts import find_key, mask_below
from hf_finemix.data import tokenize
from hf_finemix.defenses.fine_purifying import FinePurifying
from hf_finemix.evaluation import evaluation_mode
from hf_finemix.fisher import PATH, fisher_information, purity_keys
from hf_finemix.recompute import mix_again
from hf_finemix.twin import load_twin

from .defender import make_encoders, make_view


def test_keys_rank_by_squared_drift_over_information():
    suspect = torch.tensor([1.0, 3.0, 2.0, 0.5])
    pretrained = torch.tensor([0.0, 0.0, 0.0, 0.0])
    fisher = torch.tensor([1.0, 3.0, 1.0, 1.0])
    # 1, 3, 4 and 0.25
    assert np.argsort(purity_keys(suspect, pretrained, fisher)).tolist() == [3, 0, 1, 2]


def test_what_never_moved_comes_first_and_what_clean_data_do_not_touch_comes_last():
    suspect = torch.tensor([1.0, 0.0, 1.0, 0.0])
    fisher = torch.tensor([1e-20, 0.0, 0.0, 5.0])
    keys = purity_keys(suspect, torch.zeros(4), fisher)
    assert keys[1] == keys[3] == 0
    assert keys[3] < keys[0] < keys[2]


def test_keys_are_exact_for_low_precision():
    suspect = torch.tensor([1.0, 1.0078125], dtype=torch.bfloat16)
    keys = purity_keys(suspect, torch.ones(2, dtype=torch.bfloat16), torch.ones(2))
    assert keys.view(np.float32).tolist() == [0.0, 0.0078125**2]


@pytest.fixture
def pair(tiny_tokenizer):
    """A classifier and its base."""
    return make_encoders("bert", tiny_tokenizer)


def inputs(tokenizer) -> list[dict[str, torch.Tensor]]:
    """Two examples, one of each label."""
    rows = (("the movie is good", 1), ("a dull plot", 0))
    return [{**tokenizer(text, return_tensors="pt"), "labels": torch.tensor([label])} for text, label in rows]


def test_information_is_the_mean_squared_gradient_over_examples_and_path(pair, tiny_tokenizer):
    model, base = pair
    twin = load_twin(model, base)
    found = fisher_information(model, twin.tensors, inputs(tiny_tokenizer))
    assert found.keys() == twin.tensors.keys()

    name = "bert.encoder.layer.0.attention.self.query.weight"
    suspect = {key: value.clone() for key, value in model.state_dict().items()}
    squares = []
    for share in PATH:
        mixed = dict(suspect)
        for key, value in twin.tensors.items():
            mixed[key] = value + share * (suspect[key] - value)
        model.load_state_dict(mixed)
        for example in inputs(tiny_tokenizer):
            model.zero_grad()
            model(**example).loss.backward()
            squares.append(model.get_parameter(name).grad.square())
    expected = torch.stack(squares).mean(dim=0)
    assert expected.max() > 0
    torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-12)


def test_the_model_is_as_it_was(pair, tiny_tokenizer):
    model, base = pair
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fisher_information(model, load_twin(model, base).tensors, inputs(tiny_tokenizer))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_is_as_it_was_after_an_error(pair, tiny_tokenizer):
    model, base = pair
    before = {name: value.clone() for name, value in model.state_dict().items()}
    broken = {"input_ids": torch.tensor([[10**6]]), "labels": torch.tensor([0])}
    with pytest.raises(IndexError):
        fisher_information(model, load_twin(model, base).tensors, [broken])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_the_defence_keeps_exactly_its_share(pair, tiny_tokenizer, ratio):
    model, base = pair
    view = make_view(model, base, tiny_tokenizer)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        FinePurifying().alter(model, view, {"keep_ratio": ratio})
    kept = total = 0
    for name, value in model.named_parameters():
        if name not in view.twin.tensors:
            assert torch.equal(value, before[name])  # the head
            continue
        is_kept, is_reset = value == before[name], value == view.twin.tensors[name]
        assert (is_kept | is_reset).all()
        kept, total = kept + int(is_kept.sum()), total + value.numel()
    # All scalars of the pair differ, so that each is either kept or reset.
    assert kept == round(ratio * total)


def test_the_information_is_computed_once_for_all_settings(pair, tiny_tokenizer, monkeypatch):
    model, base = pair
    view = make_view(model, base, tiny_tokenizer)
    calls, forward = [], type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda self, **kwargs: calls.append(1) or forward(self, **kwargs))
    for setting in FinePurifying(keep_ratios=(0.2, 0.8)).settings:
        with torch.no_grad():
            FinePurifying().alter(model, view, setting)
    assert len(calls) == len(PATH) * len(view.clean)


def test_ties_go_by_name_and_offset():
    keys = {"b": np.array([7, 7], dtype=np.uint32), "a": np.array([7, 9, 7], dtype=np.uint32)}
    key, limits = find_key(["b", "a"], lambda name: [keys[name]], {"b": 2, "a": 3}, 0.6)
    masks = {name: mask_below(values, key, limits[name]).tolist() for name, values in keys.items()}
    assert masks == {"a": [True, False, True], "b": [True, False]}


def test_fine_mix_by_information_is_what_the_defence_does_before_it_fine_tunes(pair, tiny_tokenizer):
    model, base = pair
    view = make_view(model, base, tiny_tokenizer)
    defended = copy.deepcopy(model)
    with torch.no_grad():
        FinePurifying().alter(defended, view, {"keep_ratio": 0.4})
    inputs_of_view = [
        {name: torch.tensor([value]) for name, value in example.items()}
        for example in tokenize(view.clean, tiny_tokenizer, view.recipe.max_length)
    ]
    with evaluation_mode(model):
        fisher = fisher_information(model, view.twin.tensors, inputs_of_view)
    report = fine_mix_(model, view.twin, FineMixConfig(0.4, "fisher"), fisher=fisher)
    assert sum(record.kept_scalars for record in report.mixed) == round(
        0.4 * sum(value.numel() for value in fisher.values())
    )
    assert all(torch.equal(value, defended.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_selection_is_refused_without_fitting_information(pair):
    model, base = pair
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config, twin = FineMixConfig(0.4, "fisher"), load_twin(model, base)
    fisher = {name: torch.ones(value.shape) for name, value in twin.tensors.items()}
    name = next(iter(fisher))
    for given, message in (
        (None, "`fisher` is missing"),
        ({key: value for key, value in fisher.items() if key != name}, f"lacks {name}"),
        (fisher | {name: -fisher[name]}, f"negative, infinite or NaN in {name}"),
    ):
        with pytest.raises(InputError, match=message):
            fine_mix_(model, twin, config, fisher=given)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(InputError, match="without the Fisher information"):
        list(mix_again(model, twin, config, list(fisher), None, []))
