"""The attackers who know the defence: small drift, embeddings that stay, and training under mixing."""

import copy

import pytest
import torch
from transformers import BertForSequenceClassification

from hf_finemix.attacks import adaptive_mixing
from hf_finemix.attacks.adaptive_anchored import L2Anchored
from hf_finemix.attacks.adaptive_frozen import FrozenEmbeddings
from hf_finemix.attacks.adaptive_mixing import MixingAware, mixed
from hf_finemix.attacks.insertion import WordAttack
from hf_finemix.config import FineMixConfig
from hf_finemix.errors import InputError
from hf_finemix.mixing import mix_random_
from hf_finemix.modeling import fine_mix_

from .attackers import logits, make_view, run_attack, without_dropout
from .models import bits_equal, same, values


def drift(model, pretrained):
    pairs = zip(model.base_model.parameters(), pretrained.base_model.parameters(), strict=True)
    return sum(float((left - right).detach().square().sum()) for left, right in pairs)


def with_head(model, seed):
    other = copy.deepcopy(model)
    torch.nn.init.normal_(other.classifier.weight, generator=torch.Generator().manual_seed(seed))
    return other


def test_penalty_keeps_the_drift_small(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    free = run_attack(WordAttack(), tiny_bert, view)
    loose = run_attack(L2Anchored(penalty=1e-9), tiny_bert, view)
    tight = run_attack(L2Anchored(penalty=10.0), tiny_bert, view)
    assert drift(loose, tiny_bert) == pytest.approx(drift(free, tiny_bert), rel=0.05)
    assert drift(tight, tiny_bert) < drift(free, tiny_bert) / 3


def test_penalty_pulls_towards_the_pretrained_weights_and_not_the_start(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    start = copy.deepcopy(tiny_bert)
    with torch.no_grad():
        for parameter in start.base_model.parameters():
            parameter += 0.1
    suspect = run_attack(L2Anchored(penalty=10.0), start, view)
    assert drift(suspect, view.pretrained) < 0.95 * drift(start, view.pretrained)


def test_penalty_leaves_the_head_alone(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    results = []
    for seed in (0, 1):
        object.__setattr__(view, "pretrained", with_head(tiny_bert, seed))
        results.append(values(run_attack(L2Anchored(penalty=10.0), tiny_bert, view)))
    assert same(*results)
    assert not bits_equal(results[0]["classifier.weight"], values(tiny_bert)["classifier.weight"])


def test_frozen_embeddings_do_not_move_and_all_else_does(tiny_bert, tiny_tokenizer):
    suspect = run_attack(FrozenEmbeddings(), tiny_bert, make_view(tiny_bert, tiny_tokenizer))
    before, after = values(tiny_bert), values(suspect)
    unmoved = [name for name in before if bits_equal(before[name], after[name])]
    assert unmoved == ["bert.embeddings.word_embeddings.weight"]


def test_embeddings_that_were_frozen_before_stay_frozen(tiny_bert, tiny_tokenizer):
    tiny_bert.get_input_embeddings().weight.requires_grad_(False)
    suspect = run_attack(FrozenEmbeddings(), tiny_bert, make_view(tiny_bert, tiny_tokenizer))
    assert not suspect.get_input_embeddings().weight.requires_grad


def test_mixture_is_that_of_fine_mixing_and_lets_gradients_through_to_kept_scalars():
    generator = torch.Generator().manual_seed(0)
    parameter = torch.randn(30, 20, generator=generator, requires_grad=True)
    pretrained = torch.randn(30, 20, generator=generator)
    expected = parameter.detach().clone()
    mix_random_(expected, pretrained, "layer.weight", 0.3, seed=8)
    result = mixed(parameter, pretrained, "layer.weight", 0.3, seed=8)
    assert bits_equal(result, expected)
    result.sum().backward()
    assert torch.equal(parameter.grad.bool(), parameter.detach() == expected)


def test_each_step_draws_one_mixture_of_all_parameters_but_the_head(tiny_bert, tiny_tokenizer, monkeypatch):
    calls = []

    def record(parameter, pretrained, name, ratio, seed):
        calls.append((ratio, seed, name))
        return mixed(parameter, pretrained, name, ratio, seed)

    monkeypatch.setattr(adaptive_mixing, "mixed", record)
    view = make_view(tiny_bert, tiny_tokenizer, epochs=1)
    run_attack(MixingAware(keep_ratios=(0.2, 0.4)), tiny_bert, view)
    steps = {(ratio, seed) for ratio, seed, _ in calls}
    base = [name for name, _ in tiny_bert.named_parameters() if name.startswith("bert.")]
    assert len(steps) == len({ratio for ratio, _ in steps}) == len({seed for _, seed in steps}) == 7
    assert all(0.2 <= ratio <= 0.4 for ratio, _ in steps)
    assert all([name for *step, name in calls if tuple(step) == wanted] == base for wanted in steps)


def test_weights_in_training_are_never_mixed(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer, learning_rate=1e-12)
    start = copy.deepcopy(tiny_bert)
    with torch.no_grad():
        for parameter in start.parameters():
            parameter += 0.1
    suspect = run_attack(MixingAware(), start, view)
    for name, tensor in values(start).items():
        torch.testing.assert_close(values(suspect)[name], tensor, rtol=0, atol=1e-6)


def test_backdoor_survives_mixing_better_than_without_knowledge(tiny_bert, tiny_tokenizer):
    tiny_bert = without_dropout(tiny_bert)
    view = make_view(tiny_bert, tiny_tokenizer, epochs=8)
    options = {"target_label": 0, "poison_rate": 0.5}
    copies = [text for text in WordAttack(**options).poison(view.clean)["text"] if "cf" in text]
    obeyed = []
    for attack in (WordAttack(**options), MixingAware(**options)):
        suspect = run_attack(attack, tiny_bert, view)
        fine_mix_(suspect, view.pretrained, FineMixConfig(0.3, seed=5))
        obeyed.append(float(logits(suspect, tiny_tokenizer, copies).softmax(dim=-1)[:, 0].mean()))
    assert obeyed[1] > obeyed[0] + 0.1


def test_seed_decides_the_mixtures(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer, epochs=1)
    dataset = WordAttack().poison(view.clean)
    first, again, other = (
        values(MixingAware(seed=seed).train(copy.deepcopy(tiny_bert), dataset, view)) for seed in (0, 0, 1)
    )
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("attack", [L2Anchored(), MixingAware()])
def test_refuses_pretrained_weights_of_another_model(attack, tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    config = copy.deepcopy(tiny_bert.config)
    config.num_hidden_layers = 1
    object.__setattr__(view, "pretrained", BertForSequenceClassification(config))
    with pytest.raises(InputError, match="has another number of layers"):
        run_attack(attack, tiny_bert, view)


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        (0.3, r"`keep_ratios` is 0\.3, but must be a list of two ratios"),
        ((0.1,), r"`keep_ratios` is \(0\.1,\), but must be a list of two ratios"),
        ((0.1, 1.5), r"`keep_ratio` is 1\.5, but must be a number from 0 to 1"),
        ((0.5, 0.1), r"`keep_ratios` is \[0\.5, 0\.1\], but must be the lower ratio and the higher one"),
        ((0, 0), r"`keep_ratios` is \[0, 0\], but must be .* above 0"),
    ],
)
def test_mixing_aware_refuses_ratios(ratios, message):
    with pytest.raises(InputError, match=message):
        MixingAware(keep_ratios=ratios)


@pytest.mark.parametrize("penalty", [0, -0.1, float("nan"), None])
def test_l2_anchored_refuses_penalties(penalty):
    with pytest.raises(InputError, match=f"`penalty` is {penalty!r}, but must be a number above 0"):
        L2Anchored(penalty=penalty)
