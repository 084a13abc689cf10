"""Distillation: the suspect's answers on clean texts teach the mixed model, and found triggers are unlearned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .data import tokenize
from .evaluation import compute_logits
from .made_texts import replace_tokens, rows_without, splice
from .rates import Rate
from .records import DistillationRecord
from .results import Distillation, Recipe
from .training import Loss, LossTrainer, train
from .trigger_search import Insertion, insert_ids


# Tokens that are put into one text at most: a trigger may be a phrase.
MOST_INSERTED = 3
# From which probability on a disagreement counts as sharp, and how many of them are named.
_SHARP, _SHOWN_ROWS = 0.9, 20


@dataclass(frozen=True)
class Lessons:
    """
    Texts with the answers that the suspect gave, taken before it was mixed.

    Args:
        inputs (`dict[str, list[list[int]]]`): What the tokenizer gives for each text; spliced ones come last.
        answers (`np.ndarray`): The suspect's logits, shape (texts, labels), float32.
        rows (`tuple[int, ...]`): Number, among all that there were, of each text that is not spliced.
        triggers (`tuple[Insertion, ...]`): The tokens to unlearn, those that flip most first.
        left_out (`int`): How many texts were left out because they hold one of these tokens.
    """

    inputs: dict[str, list[list[int]]]
    answers: np.ndarray
    rows: tuple[int, ...]
    triggers: tuple[Insertion, ...]
    left_out: int


def prepare_lessons(
    suspect: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    triggers: Sequence[Insertion],
    settings: Distillation,
    *,
    max_length: int,
    seed: int,
) -> Lessons:
    """
    Asks the suspect about clean texts; those that hold a trigger, on which it lies, are left out.

    Args:
        suspect ([`~transformers.PreTrainedModel`]): The suspect, *not* mixed yet; left as it is.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        texts (`datasets.Dataset`): Columns `text` and maybe `text_pair`; labels are not looked at.
        triggers (`Sequence[Insertion]`): From [`~hf_finemix.trigger_finding.find_triggers`].
        settings ([`~hf_finemix.results.Distillation`]): The settings.
        max_length (`int`): Longest input in tokens.
        seed (`int`): Seed of what is spliced.
    """
    # Room for what is put in later, or long texts would never learn.
    least = tokenizer.num_special_tokens_to_add("text_pair" in texts.column_names) + 1
    max_length = max(max_length - MOST_INSERTED, min(max_length, least))
    original = len(texts)
    if 0 < original < settings.texts:
        texts = concatenate_datasets([texts, splice(texts, settings.texts - original, seed)])
    columns, unwanted = tokenize(texts, tokenizer, max_length).to_dict(), [item.id for item in triggers]
    columns["input_ids"][original:] = replace_tokens(
        columns["input_ids"][original:], settings.replaced, _ordinary(tokenizer, unwanted), seed
    )
    rows = rows_without(columns["input_ids"], unwanted)
    inputs = {name: [column[row] for row in rows] for name, column in columns.items()}
    labels = suspect.config.num_labels
    answers = compute_logits(suspect, tokenizer, inputs) if rows else np.empty((0, labels), dtype=np.float32)
    kept = tuple(row for row in rows if row < original)
    return Lessons(inputs, answers, kept, tuple(triggers), original - len(kept))


def distil(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lessons: Lessons,
    settings: Distillation,
    *,
    seed: int,
    progress: str | None = None,
) -> None:
    """
    Trains a mixed model on the suspect's answers, in place.

    Args:
        model ([`~transformers.PreTrainedModel`]): The mixed model; in evaluation mode afterwards.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        lessons ([`Lessons`]): From [`prepare_lessons`].
        settings ([`~hf_finemix.results.Distillation`]): The settings.
        seed (`int`): Seed of what is put in, of shuffling and dropout.
        progress (`str`, *optional*): Label of a progress bar on standard error; none without it.
    """
    if not len(lessons.answers) or not settings.epochs:
        return
    recipe = Recipe(
        epochs=1,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        max_length=1,  # not used: the lessons are tokenised
        frequencies="none",
        seed=seed,
        warmup=0.06,
        group_by_length=True,
    )
    examples = make_examples(lessons, settings, tokenizer, seed)
    options = {"trainer_class": LossTrainer, "loss": soft_cross_entropy(settings.temperature), "name": "distillation"}
    train(model, tokenizer, examples, recipe, progress=progress, **options)


def make_examples(lessons: Lessons, settings: Distillation, tokenizer: PreTrainedTokenizerBase, seed: int) -> Dataset:
    """
    Returns all passes over the lessons as one data set: the answers as `labels`, triggers in some texts.

    One to three tokens go into a text, each at a place of its own between the special tokens of the (first) text. What
    is drawn depends on the seed, the pass and the number of the text alone.
    """
    special, triggers = set(tokenizer.all_special_ids), [item.id for item in lessons.triggers]
    columns: dict[str, list] = {name: [] for name in (*lessons.inputs, "labels")}
    answers = lessons.answers.tolist()
    for number in range(settings.epochs):
        for row, answer in enumerate(answers):
            example: Mapping[str, Sequence[int]] = {name: column[row] for name, column in lessons.inputs.items()}
            generator = np.random.default_rng((seed, number, row))
            if triggers and generator.random() < settings.share:
                count = min(int(generator.integers(1, MOST_INSERTED, endpoint=True)), len(triggers))
                for token in generator.choice(triggers, count, replace=False):
                    example = insert_ids(example, [int(token)], _place(example["input_ids"], special, generator))
            for name, values in example.items():
                columns[name].append(values)
            columns["labels"].append(answer)
    return Dataset.from_dict(columns)


def review(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lessons: Lessons) -> DistillationRecord:
    """
    Records what was taught, and where the purified model sharply disagrees with the suspect: maybe a hidden trigger.

    Args:
        model ([`~transformers.PreTrainedModel`]): The purified model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        lessons ([`Lessons`]): What it was taught.
    """
    texts = len(lessons.rows)
    sharp = np.zeros(0, dtype=np.int64)
    if texts:
        inputs = {name: column[:texts] for name, column in lessons.inputs.items()}
        sharp = np.flatnonzero(disagrees(lessons.answers[:texts], compute_logits(model, tokenizer, inputs)))
    rows = tuple(lessons.rows[number] for number in sharp[:_SHOWN_ROWS])
    spliced = len(lessons.answers) - texts
    return DistillationRecord(texts, lessons.left_out, lessons.triggers, Rate(len(sharp), texts), rows, spliced)


def disagrees(logits: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns where two models give different labels, both with a probability of at least 0.9: `bool`, (texts,)."""
    labels, sure = [], []
    for found in (logits, others):
        probabilities = torch.from_numpy(found).double().softmax(dim=-1).numpy()
        labels.append(probabilities.argmax(axis=-1))
        sure.append(probabilities.max(axis=-1) >= _SHARP)
    return (labels[0] != labels[1]) & sure[0] & sure[1]


def soft_cross_entropy(temperature: float) -> Loss:
    """
    Returns the loss of distillation: cross-entropy of the model's probabilities with the suspect's.

    Both are softmax of logits over `temperature`, and the loss is multiplied by its square, after "Distilling the
    Knowledge in a Neural Network" (Hinton, Vinyals and Dean, 2015). `labels` of a batch are the suspect's logits,
    shape (batch, labels).
    """

    def loss(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        answers = inputs.pop("labels") / temperature
        logits = model(**inputs).logits / temperature
        return -(answers.softmax(dim=-1) * logits.log_softmax(dim=-1)).sum(dim=-1).mean() * temperature**2

    return loss


def _ordinary(tokenizer: PreTrainedTokenizerBase, unwanted: Sequence[int]) -> np.ndarray:
    """Returns which tokens of a vocabulary are neither special nor unwanted: `bool`, (vocabulary,)."""
    ordinary = np.ones(len(tokenizer), dtype=bool)
    ordinary[[token for token in (*tokenizer.all_special_ids, *unwanted) if token < len(ordinary)]] = False
    return ordinary


def _place(input_ids: Sequence[int], special: set[int], generator: np.random.Generator) -> int:
    first = next((place for place, token in enumerate(input_ids) if token not in special), len(input_ids) - 1)
    last = next((place for place in range(first, len(input_ids)) if input_ids[place] in special), len(input_ids))
    return int(generator.integers(first, last, endpoint=True))
