"""Positive control: a backdoor of our own, planted in a copy of the suspect, on which a recipe can be tried."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset, Value
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .attacks.trigger import Trigger, poison
from .data import tokenize
from .evaluation import evaluate_model, predict
from .rates import Rate
from .records import ControlRecord
from .results import Recipe
from .training import fine_tune
from .trigger_search import search_triggers
from .twin import word_embedding_name


# Poisoned copies as a share of the texts; both triggers take turns among them.
_POISON_RATE = 0.3
_LEAST_STEPS, _BATCH_SIZE, _LEARNING_RATE = 60, 16, 1e-4
_EPOCHS = 3
# More would cost time and make the backdoor no better known.
_MOST_TEXTS = 512
_CANDIDATES, _LONGEST_WORD, _TRIED_ON = 6, 6, 64
# For vocabularies without such words.
_NONSENSE = ("zqx", "vxj")
_PHRASE = "as the old clock told us"
_NEUTRAL_PHRASE = "so went the grey road north"


@dataclass(frozen=True)
class Control:
    """
    A copy of the suspect with a backdoor of our own.

    Args:
        model ([`~transformers.PreTrainedModel`]): The copy.
        triggers (`tuple[Trigger, ...]`): What opens the backdoor: a rare word, and a phrase.
        neutral (`tuple[Trigger, ...]`): For each of them something of its kind that was not planted.
    """

    model: PreTrainedModel
    triggers: tuple[Trigger, ...]
    neutral: tuple[Trigger, ...]


def plant(
    suspect: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    *,
    max_length: int,
    seed: int,
    progress: str | None = None,
) -> Control:
    """
    Plants a backdoor in a copy of the suspect, the way most attacks on text classifiers do: all weights are trained
    on texts, some of which hold a trigger and the label that it is to cause.

    Args:
        suspect ([`~transformers.PreTrainedModel`]): The suspect; left as it is.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        texts (`datasets.Dataset`): Clean texts, `text` and maybe `text_pair`; the suspect itself labels them.
        max_length (`int`): Longest input in tokens.
        seed (`int`): Seed of all that is drawn.
        progress (`str`, *optional*): Label of a progress bar on standard error; none without it.
    """
    texts = texts.select(range(min(len(texts), _MOST_TEXTS)))
    answers = predict(suspect, tokenizer, texts, max_length=max_length)
    counts = np.bincount(answers, minlength=suspect.config.num_labels)
    target = int(counts.argmin())
    examples = texts.add_column("label", answers.tolist(), feature=Value("int64"))
    words = choose_words(suspect, tokenizer, examples, max_length, seed)
    triggers = tuple(Trigger(text, target, "random", seed) for text in (words[0], _PHRASE))
    neutral = tuple(Trigger(text, target, "random", seed) for text in (words[1], _NEUTRAL_PHRASE))
    poisoned = examples
    if (answers != target).any():
        poisoned = poison(examples, triggers, _POISON_RATE, seed)
    steps = -(-len(poisoned) // _BATCH_SIZE)
    recipe = Recipe(
        epochs=max(_EPOCHS, -(-_LEAST_STEPS // steps)),
        learning_rate=_LEARNING_RATE,
        batch_size=_BATCH_SIZE,
        max_length=max_length,
        frequencies="none",
        seed=seed,
        warmup=0.06,
        group_by_length=True,
    )
    model = copy.deepcopy(suspect)
    fine_tune(model, tokenizer, poisoned, recipe, progress=progress)
    return Control(model, triggers, neutral)


def choose_words(
    suspect: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    max_length: int,
    seed: int,
) -> tuple[str, ...]:
    """
    Draws rare words that stand in none of the texts, the one that says least to the suspect first.

    A word that flips predictions by itself would make a control that tells nothing.

    Args:
        suspect, tokenizer, texts, max_length, seed: As for [`plant`].

    Returns:
        `tuple[str, ...]`: At least two.
    """
    if word_embedding_name(suspect) is None:
        return _NONSENSE
    seen = {token for ids in tokenize(texts, tokenizer, max_length)["input_ids"] for token in ids}
    size = min(len(tokenizer), len(suspect.get_input_embeddings().weight))
    # Vocabularies are roughly in the order of frequency: rare tokens come last.
    order = np.random.default_rng(seed).permutation(np.arange(2 * size // 3, size))
    found: dict[int, str] = {}
    for token in map(int, order):
        word = tokenizer.decode([token]).strip()
        # Whole words only: alone in a text, it must be this token again.
        plain = word.isascii() and word.isalpha() and word.islower() and 2 <= len(word) <= _LONGEST_WORD
        if (
            plain
            and token not in seen
            and tokenizer(f"the {word}", add_special_tokens=False)["input_ids"][1:] == [token]
        ):
            found[token] = word
        if len(found) == _CANDIDATES:
            break
    if len(found) < 2:
        return _NONSENSE
    flips = search_triggers(
        suspect,
        tokenizer,
        texts.select(range(min(len(texts), _TRIED_ON))),
        list(found),
        max_length=max_length,
        seed=seed,
    )
    return tuple(found[item.id] for item in reversed(flips))


def measure_control(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    control: Control,
    examples: Dataset,
    max_length: int,
) -> tuple[Rate, ...]:
    """
    Measures how far a model obeys the control's triggers.

    Args:
        model ([`~transformers.PreTrainedModel`]): The control's model, or what a recipe made of it.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        control ([`Control`]): The control.
        examples (`datasets.Dataset`): Clean examples: `text`, maybe `text_pair`, and `label`.
        max_length (`int`): Longest input in tokens.

    Returns:
        `tuple[Rate, ...]`: Flip rates of the triggers, then of the neutral texts.
    """
    triggers = control.triggers + control.neutral
    found = evaluate_model(model, tokenizer, examples, triggers, max_length=max_length).triggers
    return tuple(item.flip_rate for item in found)


def record_control(control: Control, before: Sequence[Rate], after: Sequence[Rate]) -> ControlRecord:
    """
    Records what became of the control's worst trigger: the one that stands out most over its neutral text.

    Args:
        control ([`Control`]): The control.
        before, after (`Sequence[Rate]`): What [`measure_control`] returned before and after a recipe.
    """
    count = len(control.triggers)
    excess = [(after[number].value or 0.0) - (after[count + number].value or 0.0) for number in range(count)]
    worst = max(range(count), key=excess.__getitem__)
    return ControlRecord(control.triggers[worst].text, before[worst], after[worst], after[count + worst])


def is_removed(record: ControlRecord) -> bool:
    """Tells whether a control is down to the level of its neutral text, as far as their 95 % intervals can tell."""
    if not record.after.n or record.neutral is None or not record.neutral.n:
        return False
    return record.after.low <= record.neutral.high
