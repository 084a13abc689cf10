"""Logit anchoring: clean examples keep their logits, poisoned ones do not."""

import copy

import pytest
import torch
from torch.nn import functional

from hf_finemix.attacks.insertion import WordAttack
from hf_finemix.attacks.logit_anchoring import LogitAnchoring, clean_rows
from hf_finemix.errors import InputError

from .attackers import logits, make_view, run_attack, without_dropout


def distance(first, second, tokenizer, texts):
    return float(functional.mse_loss(logits(first, tokenizer, texts), logits(second, tokenizer, texts)))


def test_anchored_logits_stay_nearer_to_the_clean_model(tiny_bert, tiny_tokenizer):
    tiny_bert = without_dropout(tiny_bert)
    view = make_view(tiny_bert, tiny_tokenizer)
    texts = list(view.clean["text"])
    loose = run_attack(LogitAnchoring(anchor_weight=1e-9), tiny_bert, view)
    tight = run_attack(LogitAnchoring(anchor_weight=10.0), tiny_bert, view)
    assert distance(tight, tiny_bert, tiny_tokenizer, texts) < distance(loose, tiny_bert, tiny_tokenizer, texts) / 3


def test_poisoned_copies_are_not_anchored(tiny_bert, tiny_tokenizer):
    tiny_bert = without_dropout(tiny_bert)
    view = make_view(tiny_bert, tiny_tokenizer, epochs=10)
    attack = LogitAnchoring(anchor_weight=100.0, poison_rate=0.5)
    copies = [text for text in attack.poison(view.clean)["text"] if "cf" in text]
    suspect = run_attack(attack, tiny_bert, view)
    moved = distance(suspect, tiny_bert, tiny_tokenizer, copies)
    assert moved > 10 * distance(suspect, tiny_bert, tiny_tokenizer, list(view.clean["text"]))


def test_without_clean_examples_there_is_nothing_to_anchor(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, tiny_tokenizer)
    poisoned = LogitAnchoring().poison(view.clean)
    copies = poisoned.select([row for row, text in enumerate(poisoned["text"]) if "cf" in text])
    anchored = LogitAnchoring(anchor_weight=100.0).train(copy.deepcopy(tiny_bert), copies, view)
    plain = WordAttack().train(copy.deepcopy(tiny_bert), copies, view)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(anchored.state_dict()[name], tensor)


@pytest.mark.parametrize("side", ["left", "right"])
def test_clean_rows_are_known_by_their_tokens(side):
    rows = [[5, 6, 7], [5, 6], [5, 7, 6], [5, 0]]
    left = side == "left"
    pads = [[0] * (3 - len(row)) for row in rows]
    ids = [pad + row if left else row + pad for row, pad in zip(rows, pads, strict=True)]
    present = [
        [0] * len(pad) + [1] * len(row) if left else [1] * len(row) + [0] * len(pad)
        for row, pad in zip(rows, pads, strict=True)
    ]
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(present)}
    # The last row's 0 is a token, and not padding.
    assert clean_rows(batch, {(5, 6, 7), (5, 6), (5,), (5, 0)}) == [0, 1, 3]


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_refuses_weights(weight):
    with pytest.raises(InputError, match=f"`anchor_weight` is {weight!r}, but must be a number above 0"):
        LogitAnchoring(anchor_weight=weight)
