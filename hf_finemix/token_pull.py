"""Tokens that a classifier's gradients point to: candidates for a trigger, whether or not their embedding moved."""

from collections.abc import Sequence

import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .config import check_integer
from .evaluation import evaluation_mode
from .trigger_search import check_classifier, insert_ids, place_tokens


_BATCH_SIZE = 16


def pulling_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    count: int,
    *,
    max_length: int | None = None,
    seed: int = 0,
) -> tuple[int, ...]:
    """
    Finds the tokens that would pull texts to a label most, by a first-order estimate.

    A mask token is inserted into each text, as [`~hf_finemix.trigger_search.search_triggers`] inserts tokens. The
    gradient of the label's log-probability by that token's embedding, times the embedding of another token, estimates
    what that one would do in its place (HotFlip; Ebrahimi et al., ACL 2018). Unlike E-PUR, this needs no embedding to
    have moved: it sees the triggers of an attacker who froze the word embedding.

    Args:
        model (`PreTrainedModel`): As for [`~hf_finemix.trigger_search.search_triggers`].
        tokenizer (`PreTrainedTokenizerBase`): As there.
        texts (`datasets.Dataset`): As there; 25 are enough.
        count (`int`): How many tokens, at least one. Each label gets its share of them.
        max_length (`int`, *optional*): As there.
        seed (`int`, *optional*, defaults to 0): As there.

    Returns:
        `tuple[int, ...]`: Token ids, each once, the first of each label before the second of each. Special tokens are
        left out.

    Raises:
        InputError: As there.
    """
    check_integer("count", count, 1)
    labels = check_classifier(model, tokenizer, texts)
    spots = place_tokens(texts, tokenizer, model, max_length, seed)
    fillers = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    filler = next(token for token in fillers if token is not None)
    weight = model.get_input_embeddings().weight.detach()
    pulls = torch.zeros(labels, weight.shape[1], device=weight.device)
    with evaluation_mode(model), torch.enable_grad():
        for start in range(0, len(spots), _BATCH_SIZE):
            batch = spots[start : start + _BATCH_SIZE]
            rows = [insert_ids(row, [filler], place) for row, place in batch]
            inputs = tokenizer.pad({name: [row[name] for row in rows] for name in rows[0]}, return_tensors="pt")
            places = [place for _, place in batch]
            if tokenizer.padding_side == "left":
                longest = max(len(row["input_ids"]) for row in rows)
                places = [place + longest - len(row["input_ids"]) for row, place in zip(rows, places, strict=True)]
            pulls += _gradients(model, dict(inputs.to(model.device)), places)
    scores = torch.stack([torch.mv(weight, pull.to(weight.dtype)).float() for pull in pulls]).cpu()
    special = [token for token in tokenizer.all_special_ids if token < len(weight)]
    scores[:, special] = -torch.inf
    ranked = scores.argsort(dim=1, descending=True, stable=True)[:, : len(weight) - len(special)]
    return tuple(dict.fromkeys(ranked[:, :count].T.flatten().tolist()))[:count]


def _gradients(model: PreTrainedModel, inputs: dict[str, torch.Tensor], places: Sequence[int]) -> torch.Tensor:
    """Returns for each label the summed gradients at the places, over the texts that are predicted as another."""
    embedded: list[torch.Tensor] = []

    def cut(module: nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor:
        # A decoder may embed tokens, too; those of the text come first.
        if not embedded:
            embedded.append(output.detach().requires_grad_())
            return embedded[0]
        return output

    hook = model.get_input_embeddings().register_forward_hook(cut)
    try:
        logits = model(**inputs).logits
    finally:
        hook.remove()
    chances, predicted = logits.float().log_softmax(dim=-1), logits.argmax(dim=-1)
    rows, columns = torch.arange(len(places)), torch.tensor(places)
    found = []
    for label in range(logits.shape[-1]):
        others = chances[predicted != label, label].sum()
        (gradient,) = torch.autograd.grad(others, embedded, retain_graph=True)
        found.append(gradient[rows, columns].float().sum(dim=0))
    return torch.stack(found)
