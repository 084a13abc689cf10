"""Word and sentence triggers: put one into texts, and poison a training set with it."""

import re
from dataclasses import dataclass

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

    text: str
    target_label: int
    position: str = "random"
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.text, str) or not self.text.strip():
            raise InputError(f"`text` is {self.text!r}, but a trigger must be a string that is not blank.")
        check_integer("target_label", self.target_label, 0)
        if self.position not in POSITIONS:
            raise InputError(f"`position` is {self.position!r}, but must be one of {', '.join(POSITIONS)}.")
        check_integer("seed", self.seed, 0)

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


def poison(examples: Dataset, trigger: Trigger, rate: float, seed: int) -> Dataset:
    """
    Adds triggered, mislabelled copies of examples: a dirty-label backdoor.

    This is BadNets as it is used for text, with triggers like those of "Weight Poisoning Attacks on Pretrained Models"
    (Kurita et al., ACL 2020). The clean examples all stay.

    Args:
        examples (`datasets.Dataset`):
            Clean examples with the columns `text` and `label`.
        trigger ([`Trigger`]):
            What to put in, and the label that the copies get.
        rate (`float`):
            Number of copies as a share of the examples, in (0, 1]. There are never more copies than examples whose
            label is not the target, since each is copied at most once.
        seed (`int`):
            Seed, at least 0, that decides which examples are copied and the order of the result.

    Returns:
        `datasets.Dataset`: Clean examples and copies, shuffled.

    Raises:
        InputError: If the rate is out of range or makes no copy, or all examples have the target label.
    """
    check_integer("seed", seed, 0)
    if not 0 < rate <= 1:
        raise InputError(f"`rate` is {rate!r}, but must be above 0 and at most 1.")
    candidates = np.flatnonzero(np.array(list(examples["label"])) != trigger.target_label)
    if not len(candidates):
        raise InputError(f"All examples have the target label {trigger.target_label}; choose another target.")
    count = min(round(rate * len(examples)), len(candidates))
    if not count:
        raise InputError(f"`rate` is {rate!r}, which makes no copy of {len(examples)} examples; raise it.")
    chosen = np.random.default_rng(seed).choice(candidates, size=count, replace=False)
    copies = trigger.apply(examples).select(chosen).to_dict()
    copies["label"] = [trigger.target_label] * count
    poisoned = Dataset.from_dict(copies, features=examples.features)
    return concatenate_datasets([examples, poisoned]).shuffle(seed=seed)
