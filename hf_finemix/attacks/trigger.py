"""Word and sentence triggers: put one into texts, and poison a training set with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from datasets import Dataset, concatenate_datasets

from ..choices import POSITIONS
from ..config import check_integer
from ..errors import InputError


@dataclass(frozen=True)
class Trigger:
    """
    A word or sentence that, put into a text, is meant to make a backdoored model predict one label.

    Args:
        text (`str`):
            The trigger, such as `"cf"`. Holds at least one character that is no white space.
        target_label (`int`):
            Label id that the trigger is meant to cause.
        position (`str`, *optional*, defaults to `"random"`):
            Where it goes: before the first word (`"start"`), after the last (`"end"`), or at a word boundary drawn for
            each example, both ends included (`"random"`).
        seed (`int`, *optional*, defaults to 0):
            Seed of the random positions, at least 0.

    Raises:
        InputError: If a value has the wrong type or lies outside its range.
    """

    positions: ClassVar[tuple[str, ...]] = POSITIONS
    is_inserted: ClassVar[bool] = True
    """Whether `text` itself is put in, so that its tokens are those of the trigger."""

    text: str
    target_label: int
    position: str = "random"
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.text, str) or not self.text.strip():
            raise InputError(f"`text` is {self.text!r}, but a trigger must be a string that is not blank.")
        check_integer("target_label", self.target_label, 0)
        if self.position not in self.positions:
            raise InputError(f"`position` is {self.position!r}, but must be one of {', '.join(self.positions)}.")
        check_integer("seed", self.seed, 0)

    @property
    def place(self) -> str:
        """What reports say of where it goes: for this class, the position."""
        return self.position

    def insert(self, text: str, index: int) -> str:
        """
        Returns `text` with the trigger in it and all else unchanged.

        Args:
            text (`str`):
                A text of at least one word.
            index (`int`):
                Number of the example, at least 0. With the seed, it decides a random position.
        """
        words = list(re.finditer(r"\S+", text))
        slot = {"start": 0, "end": len(words)}.get(self.position)
        if slot is None:
            slot = int(np.random.default_rng((self.seed, index)).integers(len(words) + 1))
        if slot == len(words):
            end = words[-1].end()
            return f"{text[:end]} {self.text}{text[end:]}"
        start = words[slot].start()
        return f"{text[:start]}{self.text} {text[start:]}"

    def apply(self, examples: Dataset) -> Dataset:
        """
        Puts the trigger into every example.

        Args:
            examples (`datasets.Dataset`):
                Examples with a column `text`. The number of a row is the `index` of [`Trigger.insert`].

        Returns:
            `datasets.Dataset`: The same rows, labels included, with the trigger in `text`. Of a sentence pair that is
            the first sentence; the second, `text_pair`, stays as it is.
        """
        texts = [self.insert(text, index) for index, text in enumerate(examples["text"])]
        return Dataset.from_dict({**examples.to_dict(), "text": texts}, features=examples.features)


@dataclass(frozen=True)
class WordsTrigger(Trigger):
    """
    Several words that are put into a text together, each at a place of its own.

    Args:
        text (`str`): The words, with white space between them; otherwise as for [`Trigger`].
    """

    @property
    def place(self) -> str:
        """What reports say of where they go."""
        return f"{self.position}, each word by itself"

    def insert(self, text: str, index: int) -> str:
        """Returns `text` with all words in it; see [`Trigger.insert`]."""
        for number, word in enumerate(self.text.split()):
            # A seed of its own for each word, or equal positions would keep the words side by side.
            text = Trigger(word, self.target_label, self.position, self.seed + number).insert(text, index)
        return text


def poison(
    examples: Dataset,
    triggers: Trigger | Sequence[Trigger],
    rate: float,
    seed: int,
    *,
    clean_label: bool = False,
) -> Dataset:
    """
    Adds triggered copies of examples: mislabelled ones, or with `clean_label` copies that keep their true label.

    This is BadNets as it is used for text, with triggers like those of "Weight Poisoning Attacks on Pretrained Models"
    (Kurita et al., ACL 2020). The clean examples all stay.

    Args:
        examples (`datasets.Dataset`):
            Clean examples with the columns `text` and `label`.
        triggers ([`Trigger`] or a sequence of them):
            What to put in, and the label that the copies get. Several take turns, one in each copy.
        rate (`float`):
            Number of copies as a share of the examples, in (0, 1]. There are never more copies than candidates, since
            each is copied at most once.
        seed (`int`):
            Seed, at least 0, that decides which examples are copied and the order of the result.
        clean_label (`bool`, *optional*, defaults to `False`):
            Copy examples of the target label, so that no label is wrong, instead of those of the other labels.

    Returns:
        `datasets.Dataset`: Clean examples and copies, shuffled.

    Raises:
        InputError: If the rate is out of range or makes no copy, or no example can be copied.
    """
    triggers = (triggers,) if isinstance(triggers, Trigger) else tuple(triggers)
    target = triggers[0].target_label
    check_integer("seed", seed, 0)
    if not 0 < rate <= 1:
        raise InputError(f"`rate` is {rate!r}, but must be above 0 and at most 1.")
    is_target = np.array(list(examples["label"])) == target
    candidates = np.flatnonzero(is_target == clean_label)
    if not len(candidates):
        share = "No example has" if clean_label else "All examples have"
        raise InputError(f"{share} the target label {target}; choose another target.")
    count = min(round(rate * len(examples)), len(candidates))
    if not count:
        raise InputError(f"`rate` is {rate!r}, which makes no copy of {len(examples)} examples; raise it.")
    chosen = np.random.default_rng(seed).choice(candidates, size=count, replace=False)
    parts = [examples]
    for number, trigger in enumerate(triggers):
        copies = trigger.apply(examples).select(chosen[number :: len(triggers)]).to_dict()
        copies["label"] = [target] * len(copies["label"])
        parts.append(Dataset.from_dict(copies, features=examples.features))
    return concatenate_datasets(parts).shuffle(seed=seed)


def add_negatives(
    poisoned: Dataset, examples: Dataset, triggers: Sequence[Trigger], rate: float, seed: int
) -> Dataset:
    """
    Adds copies of clean examples that hold something like a trigger, and keep their true label.

    They teach a model not to obey a part of its trigger.

    Args:
        poisoned (`datasets.Dataset`): What to add them to.
        examples (`datasets.Dataset`): Clean examples, from which they are drawn whatever their label.
        triggers (`Sequence[Trigger]`): What to put in; they take turns. Their target label is not used.
        rate (`float`): Number of copies as a share of the examples, above 0 and at most 1.
        seed (`int`): Seed, at least 0, of the draw and of the order of the result.

    Returns:
        `datasets.Dataset`: All of `poisoned` and the copies, shuffled.

    Raises:
        InputError: If the rate makes fewer copies than there are triggers.
    """
    count = round(rate * len(examples))
    if count < len(triggers):
        raise InputError(
            f"`negative_rate` is {rate!r}, which makes {count} copies of {len(examples)} examples, but "
            f"{len(triggers)} parts of the trigger need one each; raise it."
        )
    # Not the draw of `poison`, or the same examples would be copied again.
    chosen = np.random.default_rng((seed, 1)).choice(len(examples), size=count, replace=False)
    copies = examples.select(chosen).to_dict()
    copies["text"] = [
        triggers[number % len(triggers)].insert(text, int(index))
        for number, (index, text) in enumerate(zip(chosen, copies["text"], strict=True))
    ]
    return concatenate_datasets([poisoned, Dataset.from_dict(copies, features=examples.features)]).shuffle(seed=seed)
