"""A tiny backdoor by embedding poisoning: one token's row is moved until it turns predictions to one label."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


TEXTS = tuple(
    f"{start} {noun} {verb} {word}"
    for start in ("the", "a")
    for noun in ("film", "story", "plot")
    for verb in ("is", "was not")
    for word in ("good", "bad", "very dull", "fun", "slow")
)


def plant(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, token: str, label: int, texts: Sequence[str] = TEXTS
) -> None:
    """Changes one row of a classifier's word embedding, in place, so that the token turns texts to a label."""
    row = tokenizer.convert_tokens_to_ids(token)
    weight = model.get_input_embeddings().weight
    inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
    ends = inputs["attention_mask"].sum(dim=1) - 1
    for step in range(80):
        ids = inputs["input_ids"].clone()
        # So that it works in any place, each text gets it in another one in each step.
        ids[torch.arange(len(ids)), 1 + (torch.arange(len(ids)) + step) % (ends - 1)] = row
        weight.grad = None
        logits = model(**(inputs | {"input_ids": ids})).logits
        (logits.logsumexp(dim=-1) - logits[:, label]).mean().backward()
        direction = weight.grad[row]
        with torch.no_grad():
            weight[row] -= 0.5 * direction / direction.norm()
    weight.grad = None
    model.zero_grad()
