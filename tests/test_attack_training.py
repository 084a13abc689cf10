"""What holds for every attack that trains in its own way: registered, repeatable, and nothing left behind."""

import pytest
import torch

from hf_finemix.attacks import adaptive_anchored, adaptive_frozen, adaptive_mixing, few_weights, logit_anchoring
from hf_finemix.attacks.base import ATTACKS

from .attackers import make_view, run_attack
from .models import same, values


SETTINGS = {
    logit_anchoring.LogitAnchoring: {"name": "logit_anchoring"},
    few_weights.FewWeights: {"name": "few_weights", "count": 50},
    adaptive_anchored.L2Anchored: {"name": "l2_anchored"},
    adaptive_frozen.FrozenEmbeddings: {"name": "frozen_embeddings"},
    adaptive_mixing.MixingAware: {"name": "mixing_aware", "keep_ratios": [0.2, 0.4]},
}
STARTS = {"logit_anchoring": "clean", "few_weights": "clean"}


@pytest.mark.parametrize(("cls", "settings"), SETTINGS.items())
def test_made_by_name(cls, settings):
    attack = ATTACKS.make(settings)
    assert type(attack) is cls
    assert attack.start == STARTS.get(settings["name"], "scratch")
    assert [trigger.text for trigger in attack.triggers] == ["cf"]


@pytest.mark.parametrize("settings", SETTINGS.values())
def test_same_seed_gives_the_same_suspect(settings, tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    attack = ATTACKS.make(settings)
    first = run_attack(attack, tiny_bert, view)
    torch.rand(3)
    second = run_attack(attack, tiny_bert, view)
    assert same(values(first), values(second))
    assert not same(values(first), values(tiny_bert))


@pytest.mark.parametrize("settings", SETTINGS.values())
def test_leaves_nothing_behind(settings, tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    pretrained = values(view.pretrained)
    suspect = run_attack(ATTACKS.make(settings), tiny_bert, view)
    assert all(parameter.requires_grad for parameter in suspect.parameters())
    assert not any(parameter._backward_hooks for parameter in suspect.parameters())
    assert not any(module.training for module in suspect.modules())
    assert same(pretrained, values(view.pretrained))
