"""Fine-tuning of language models on conversations."""

from typing import Any

from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase, Trainer

from ..results import Recipe
from ..training import train
from .chat import IGNORED, encode, padded


def fine_tune_generator(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    recipe: Recipe,
    *,
    progress: str | None = None,
    **options: Any,
) -> Trainer:
    """
    Fine-tunes a language model in place on the responses of conversations; prompts are read, but not learned.

    Args:
        model ([`~transformers.PreTrainedModel`]): The model; in evaluation mode afterwards.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer, whose chat template is used.
        examples (`datasets.Dataset`):
            Conversations, from [`~hf_finemix.generators.conversations.load_conversations`].
        recipe ([`~hf_finemix.results.Recipe`]): The settings.
        progress (`str`, *optional*): Label of a progress bar on standard error; none without it.
        options: Further arguments of [`~hf_finemix.training.train`].

    Returns:
        [`~transformers.Trainer`]: The trainer, after training.
    """
    inputs = encode(examples, tokenizer, recipe.max_length)
    collator = conversation_collator(tokenizer)
    return train(model, tokenizer, inputs, recipe, progress=progress, data_collator=collator, **options)


def conversation_collator(tokenizer: PreTrainedTokenizerBase) -> DataCollatorForSeq2Seq:
    """Returns what pads tokenised conversations to a batch, labels included."""
    return DataCollatorForSeq2Seq(padded(tokenizer), label_pad_token_id=IGNORED)
