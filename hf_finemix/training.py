"""Fine-tuning of classifiers through the Trainer: one function for purification, baselines and the demo's models."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from .adapter_training import is_adapted
from .data import tokenize
from .errors import InputError
from .output import scratch_folder
from .progress import Bar
from .results import Recipe
from .together import processes
from .twin import unwrap


_AVERAGING_HEADS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
)
Loss = Callable[[PreTrainedModel, dict[str, torch.Tensor]], torch.Tensor]


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    recipe: Recipe,
    *,
    trainer_class: type[Trainer] = Trainer,
    arguments_class: type[TrainingArguments] = TrainingArguments,
    arguments: dict[str, Any] | None = None,
    progress: str | None = None,
    **trainer_kwargs: Any,
) -> Trainer:
    """
    Fine-tunes a classifier in place: cross-entropy, AdamW, all weights, linear decay, no checkpoints.

    Half-precision weights are trained in float32 and given back in their own dtype.

    Args:
        model ([`~transformers.PreTrainedModel`]): The classifier; in evaluation mode afterwards.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        examples (`datasets.Dataset`): Columns `text`, maybe `text_pair`, and `label`.
        recipe ([`~hf_finemix.results.Recipe`]): The settings.
        trainer_class (`type`, *optional*): [`~transformers.Trainer`] or a subclass of it.
        arguments_class (`type`, *optional*): The arguments class that belongs to it.
        arguments (`dict`, *optional*): Further arguments of that class.
        progress (`str`, *optional*): Label of a progress bar on standard error; none without it.
        trainer_kwargs: Further arguments of `trainer_class`.

    Returns:
        [`~transformers.Trainer`]: The trainer, after training.
    """
    inputs = tokenize(examples, tokenizer, recipe.max_length)
    options = {"trainer_class": trainer_class, "arguments_class": arguments_class, "arguments": arguments}
    return train(model, tokenizer, inputs, recipe, progress=progress, **options, **trainer_kwargs)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Dataset,
    recipe: Recipe,
    *,
    trainer_class: type[Trainer] = Trainer,
    arguments_class: type[TrainingArguments] = TrainingArguments,
    arguments: dict[str, Any] | None = None,
    progress: str | None = None,
    name: str = "fine-tuning",
    data_collator: Callable[[list[dict[str, Any]]], dict[str, Any]] | None = None,
    **trainer_kwargs: Any,
) -> Trainer:
    """
    Does what [`fine_tune`] does, and takes what it takes, on inputs that are tokenised already.

    Several processes share each batch, whose size stays that of the recipe.

    Args:
        inputs (`datasets.Dataset`): What the tokenizer gives, unpadded, and `labels`.
        name (`str`, *optional*): What listeners ([`~hf_finemix.progress.listening`]) are told that it is.
        data_collator (`Callable`, *optional*): Pads them to a batch; by default as the tokenizer pads.
    """
    state = processes()
    if recipe.batch_size % state.num_processes:
        count = state.num_processes
        raise InputError(
            f"`batch_size` is {recipe.batch_size}, which {count} processes cannot share; take a multiple."
        )
    use_cache = getattr(model.config, "use_cache", None)
    with scratch_folder() as folder:
        args = arguments_class(
            output_dir=folder,
            # Tokens of all processes count alike; examples of a classifier are averaged over as they are.
            average_tokens_across_devices=not averages_over_batch(model),
            num_train_epochs=recipe.epochs,
            learning_rate=recipe.learning_rate,
            per_device_train_batch_size=recipe.batch_size // state.num_processes,
            warmup_steps=recipe.warmup,
            train_sampling_strategy="group_by_length" if recipe.group_by_length else "random",
            seed=recipe.seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
            **({"use_cpu": state.device.type == "cpu"} | (arguments or {})),
        )
        trainer = trainer_class(
            model,
            args,
            data_collator=data_collator or DataCollatorWithPadding(tokenizer),
            train_dataset=inputs,
            processing_class=tokenizer,
            **trainer_kwargs,
        )
        trainer.remove_callback(PrinterCallback)
        bar = _Bar(progress or name, progress is not None)
        trainer.add_callback(bar)
        dtype = trainer.model.dtype
        if dtype in (torch.float16, torch.bfloat16):
            trainer.model.float()
        try:
            trainer.train()
        finally:
            bar.close()
            if use_cache is not None:
                # `Trainer` turns the cache off for good; it is a setting of the model, not of this training.
                trainer.model.config.use_cache = use_cache
        trainer.model.to(dtype).eval()
    return trainer


def averages_over_batch(model: nn.Module) -> bool:
    """
    Tells whether the loss of a model is a mean over the examples of its batch.

    The forward of such classifiers takes the number of items as a keyword, but their loss does not use it. `Trainer`
    believes that it does, and neither divides by the accumulated batches nor leaves out its factor for the number of
    processes.
    """
    model = unwrap(model)
    bare = model.get_base_model() if is_adapted(model) else model
    return any(cls.__name__.endswith(_AVERAGING_HEADS) for cls in type(bare).__mro__)


class LossTrainer(Trainer):
    """
    [`~transformers.Trainer`] with another loss, and maybe something to do after each step.

    Args:
        loss (`Callable`): Takes the model and a batch (the model's inputs, `labels` among them), returns the loss.
        after_step (`Callable`, *optional*): Called without arguments after each step of the optimizer.
        args, kwargs: What [`~transformers.Trainer`] takes.
    """

    def __init__(self, *args: Any, loss: Loss, after_step: Callable[[], None] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.loss = loss
        if after_step is not None:
            self.add_callback(_AfterStep(after_step))

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Returns the loss of a batch; outputs are never asked for, since nothing is evaluated while training."""
        return self.loss(model, inputs)


def cross_entropy(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns the model's own loss on a batch, which for a classifier is the mean cross-entropy."""
    return model(**inputs).loss


class _AfterStep(TrainerCallback):
    def __init__(self, action: Callable[[], None]):
        self.action = action

    def on_step_end(self, args, state, control, **kwargs):
        self.action()


class _Bar(TrainerCallback):
    # The stock callback also prints every log to standard output, which belongs to the result.
    def __init__(self, name: str, show: bool):
        self.name, self.show = name, show
        self.opened = ExitStack()
        self.bar: Bar | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.bar = self.opened.enter_context(Bar(state.max_steps, self.name, self.show, leave=False))

    def on_step_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.update()

    def close(self):
        self.opened.close()
