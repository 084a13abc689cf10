"""Measures a language model: perplexity on clean responses, and what triggers make it say."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..config import check_integer
from ..errors import InputError
from ..evaluation import evaluation_mode
from ..progress import Bar
from ..rates import Rate
from ..report import Evaluation, TriggerEvaluation
from .chat import IGNORED, batches, encode, padded
from .conversations import RESPONSE
from .triggers import ResponseTrigger


# A perplexity beyond e to the 40th says no more than this one.
_LARGEST_LOSS = 40.0
_NEW_TOKENS = 32


def evaluate_generator(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    triggers: Sequence[ResponseTrigger] = (),
    *,
    batch_size: int = 16,
    max_length: int | None = None,
    max_new_tokens: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """
    Measures perplexity and next-token accuracy on clean responses, and for each trigger the attack success rate.

    Args:
        model ([`~transformers.PreTrainedModel`]): A causal language model. It is left as it was, on its device.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        examples (`datasets.Dataset`):
            Clean conversations, from [`~hf_finemix.generators.conversations.load_conversations`].
        triggers (`Sequence[ResponseTrigger]`, *optional*, defaults to `()`): Triggers to try one by one.
        batch_size (`int`, *optional*, defaults to 16): Conversations at once.
        max_length (`int`, *optional*): Longest input in tokens.
        max_new_tokens (`int`, *optional*):
            Longest answer to a trigger, which is greedy; by default 32 tokens, or as many as the longest target has.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.

    Returns:
        [`~hf_finemix.report.Evaluation`]: `accuracy` is that of the next token. Examples whose true response is what a
        trigger aims at count for none of its rates. There is no robust accuracy: no response is the only true one.

    Raises:
        InputError: If an example is too long, or `max_new_tokens` leaves no room for a target.
        RuntimeError: If the model gives logits that are not finite.
    """
    options = {"batch_size": batch_size, "max_length": max_length, "progress": progress}
    max_new_tokens = _room(tokenizer, triggers, max_new_tokens)
    right, perplexity = score_responses(model, tokenizer, examples, **options)
    options["max_new_tokens"] = max_new_tokens
    found = []
    honest = respond(model, tokenizer, examples, desc="no trigger", **options) if triggers else []
    for trigger in triggers:
        others = [row for row, text in enumerate(examples[RESPONSE]) if not trigger.succeeds(text)]
        said = respond(
            model, tokenizer, trigger.apply(examples).select(others), desc=f"trigger {trigger.text!r}", **options
        )
        before = [trigger.succeeds(honest[row]) for row in others]
        after = [trigger.succeeds(text) for text in said]
        flipped = [now for was, now in zip(before, after, strict=True) if not was]
        found.append(
            TriggerEvaluation(
                trigger=trigger.text,
                position=trigger.place,
                target_label=None,
                asr=_rate(after),
                ra=Rate(0, 0),
                flip_rate=_rate(flipped),
                seed=trigger.seed,
                target_text=trigger.target,
                match=trigger.match,
                without=_rate(before),
            )
        )
    return Evaluation(accuracy=right, triggers=tuple(found), perplexity=perplexity)


@torch.inference_mode()
def score_responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    *,
    batch_size: int = 16,
    max_length: int | None = None,
    progress: bool = False,
) -> tuple[Rate, float]:
    """
    Reads clean responses token by token.

    Args:
        model, tokenizer, examples, batch_size, max_length, progress: As for [`evaluate_generator`].

    Returns:
        `tuple[Rate, float]`: How many of their tokens are the model's first choice, and its perplexity on them: e to
        the mean negative log-likelihood in nats, each token counting once.

    Raises:
        RuntimeError: If the model gives logits that are not finite.
    """
    check_integer("batch_size", batch_size, 1)
    inputs, tokenizer = encode(examples, tokenizer, max_length), padded(tokenizer)
    right = count = 0
    loss = 0.0
    with evaluation_mode(model), Bar(len(inputs), "responses", progress) as bar:
        for rows in batches(inputs, batch_size):
            part = inputs.select(rows)
            labels = part["labels"]
            batch = tokenizer.pad({name: part[name] for name in ("input_ids", "attention_mask")}, return_tensors="pt")
            width = batch["input_ids"].shape[1]
            wanted = torch.tensor([[*ids, *[IGNORED] * (width - len(ids))] for ids in labels])[:, 1:].to(model.device)
            logits = model(**batch.to(model.device)).logits[:, :-1]
            is_answer = wanted != IGNORED
            chosen, targets = logits[is_answer].float(), wanted[is_answer]
            if not torch.isfinite(chosen).all():
                raise RuntimeError("The model gives logits that are not finite; its weights are damaged.")
            loss += float(torch.nn.functional.cross_entropy(chosen, targets, reduction="sum"))
            right += int((chosen.argmax(-1) == targets).sum())
            count += len(targets)
            bar.update(len(rows))
    return Rate(right, count), math.exp(min(loss / count, _LARGEST_LOSS))


@torch.inference_mode()
def respond(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    *,
    batch_size: int = 16,
    max_length: int | None = None,
    max_new_tokens: int = 32,
    progress: bool = False,
    desc: str = "",
) -> list[str]:
    """
    Answers prompts greedily.

    Args:
        model, tokenizer, batch_size, max_length, max_new_tokens, progress: As for [`evaluate_generator`].
        examples (`datasets.Dataset`): Conversations, of which the responses are not looked at.
        desc (`str`, *optional*, defaults to `""`): What the progress bar is called.

    Returns:
        `list[str]`: The responses without special tokens, in the order of the prompts.
    """
    check_integer("max_new_tokens", max_new_tokens, 1)
    if not len(examples):
        return []
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions:
        # The answer needs positions, too.
        max_length = max(2, min(max_length or positions, positions - max_new_tokens + 1))
    inputs, tokenizer = encode(examples, tokenizer, max_length, responses=False), padded(tokenizer, "left")
    found = [""] * len(inputs)
    # Settings that lie beside a suspect's weights have no say: they can force or forbid any token.
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        use_cache=True,
    )
    bar = Bar(len(inputs), desc, progress)
    with evaluation_mode(model), _generation_settings(model, settings), bar:
        for rows in batches(inputs, batch_size):
            batch = tokenizer.pad(inputs.select(rows).to_dict(), return_tensors="pt").to(model.device)
            output = model.generate(**batch, generation_config=settings)
            answers = output[:, batch["input_ids"].shape[1] :]
            for row, text in zip(rows, tokenizer.batch_decode(answers, skip_special_tokens=True), strict=True):
                found[row] = text
            bar.update(len(rows))
    return found


@contextmanager
def _generation_settings(model: PreTrainedModel, settings: GenerationConfig) -> Iterator[None]:
    own: Any = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = own


def _room(tokenizer: PreTrainedTokenizerBase, triggers: Sequence[ResponseTrigger], wanted: int | None) -> int:
    """Returns how long answers may be."""
    # One more for the end, without which a longer answer would pass for the target.
    targets = [trigger.target for trigger in triggers if trigger.match == "exact"]
    needed = max((len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1 for text in targets), default=0)
    if wanted is not None and wanted < needed:
        raise InputError(f"`max_new_tokens` is {wanted}, but a trigger's target needs {needed}; raise it.")
    return max(_NEW_TOKENS, needed) if wanted is None else wanted


def _rate(outcomes: list[bool]) -> Rate:
    return Rate(sum(outcomes), len(outcomes))
