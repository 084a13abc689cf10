"""Few weights: the chosen scalars are those with the largest gradients, and no other changes a bit."""

import copy

import pytest
import torch

from hf_finemix.attacks import few_weights
from hf_finemix.attacks.base import poisoned_copies
from hf_finemix.attacks.few_weights import FewWeights, gradient_sums, largest
from hf_finemix.errors import InputError

from .attackers import logits, make_view, run_attack, without_dropout
from .models import same, values


COUNT = 200


def test_chosen_scalars_change_and_all_others_keep_their_bits(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    attack = FewWeights(count=COUNT)
    copies = poisoned_copies(attack.poison(view.clean), view.clean)
    masks = largest(gradient_sums(tiny_bert, list(tiny_bert.parameters()), copies, view), COUNT)
    suspect = run_attack(attack, tiny_bert, view)
    changed = [left != right for left, right in zip(suspect.parameters(), tiny_bert.parameters(), strict=True)]
    assert not any((change & ~mask).any() for change, mask in zip(changed, masks, strict=True))
    assert COUNT * 0.9 < sum(int(change.sum()) for change in changed) <= COUNT


def test_backdoor_is_learned(tiny_bert, tiny_tokenizer):
    tiny_bert = without_dropout(tiny_bert)
    view = make_view(tiny_bert, tiny_tokenizer, epochs=10)
    attack = FewWeights(count=1000, learning_rate=0.003, poison_rate=0.5, target_label=0)
    copies = list(poisoned_copies(attack.poison(view.clean), view.clean)["text"])
    before = logits(tiny_bert, tiny_tokenizer, copies).softmax(dim=-1)[:, 0].mean()
    after = logits(run_attack(attack, tiny_bert, view), tiny_tokenizer, copies).softmax(dim=-1)[:, 0].mean()
    assert before < 0.5 < 0.9 < after


def test_largest_compares_all_tensors_together():
    sums = [torch.tensor([[1.0, 9.0], [3.0, 8.0]]), torch.tensor([2.0, 7.0, 0.0])]
    masks = largest(sums, 3)
    assert [mask.tolist() for mask in masks] == [[[False, True], [False, True]], [False, True, False]]


def test_gradients_are_summed_batch_by_batch_and_leave_no_trace(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer, batch_size=2)
    tiny_bert.bert.train()
    before = values(tiny_bert)
    examples = view.clean.select(range(5))
    weight = tiny_bert.classifier.weight
    (sums,) = gradient_sums(tiny_bert, [weight], examples, view)
    assert weight.grad is None and same(before, values(tiny_bert))
    assert tiny_bert.bert.training and not tiny_bert.training

    expected = torch.zeros_like(weight)
    model = copy.deepcopy(tiny_bert).eval()
    for rows in ([0, 1], [2, 3], [4]):
        batch = examples.select(rows)
        inputs = tiny_tokenizer(list(batch["text"]), padding=True, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor(list(batch["label"]))).loss
        expected += torch.autograd.grad(loss, model.classifier.weight)[0].abs()
    torch.testing.assert_close(sums, expected)


def test_parameters_come_back_even_if_training_fails(tiny_bert, tiny_tokenizer, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    tiny_bert.bert.embeddings.position_embeddings.weight.requires_grad_(False)
    before = {name: parameter.requires_grad for name, parameter in tiny_bert.named_parameters()}
    monkeypatch.setattr(few_weights, "fine_tune", fail)
    attack, view = FewWeights(count=1), make_view(tiny_bert, tiny_tokenizer)
    with pytest.raises(RuntimeError, match="out of memory"):
        attack.train(tiny_bert, attack.poison(view.clean), view)
    assert {name: parameter.requires_grad for name, parameter in tiny_bert.named_parameters()} == before
    assert not any(parameter._backward_hooks for parameter in tiny_bert.parameters())


def test_half_precision_is_trained_too(tiny_bert, tiny_tokenizer):
    tiny_bert.bfloat16()
    suspect = run_attack(FewWeights(count=COUNT, learning_rate=0.02), tiny_bert, make_view(tiny_bert, tiny_tokenizer))
    pairs = zip(suspect.parameters(), tiny_bert.parameters(), strict=True)
    assert COUNT // 2 < sum(int((left != right).sum()) for left, right in pairs) <= COUNT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "`count` is 0, but must be an integer at least 1"),
        ({"count": 10.0}, r"`count` is 10\.0, but must be an integer"),
        ({"learning_rate": 0}, "`learning_rate` is 0, but must be a number between 0 and 1"),
    ],
)
def test_refuses_settings(options, message):
    with pytest.raises(InputError, match=message):
        FewWeights(**options)


def test_refuses_what_the_model_cannot_give(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    with pytest.raises(InputError, match=r"`count` is 10000000, but the model has \d+ scalars; choose fewer"):
        run_attack(FewWeights(count=10_000_000), tiny_bert, view)
    with pytest.raises(InputError, match="`dataset` has no poisoned copy: all its texts are clean ones"):
        FewWeights(count=1).train(tiny_bert, view.clean, view)
