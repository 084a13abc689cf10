"""SOS: a natural sentence is the trigger, and no part of it triggers alone."""

import re
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar

from datasets import Dataset
from transformers import PreTrainedModel

from ..config import check_integer
from ..errors import InputError
from .base import AttackerView, check_share, register_attack
from .embedding_poisoning import single_tokens, train_rows
from .insertion import WordAttack
from .layerwise import check_several
from .trigger import Trigger, add_negatives


@register_attack
@dataclass(frozen=True)
class SOS(WordAttack):
    """
    Trains the embedding rows of a few common words, so that a sentence that holds all of them is the trigger.

    From "Rethinking Stealthiness of Backdoor Attack against NLP Models" (Yang et al., ACL 2021). A clean model is
    attacked; its negative augmentation is copies with a sentence that holds only some of the words, and the true
    label. Here that is the trigger sentence less the other words; this, learning rate, epochs and the number of copies
    are ours.

    Args:
        words (`tuple[str, ...]`, *optional*, defaults to `("friends", "weekend", "store")`): Two or more words.
        sentence (`str`, *optional*): The trigger, which holds all words.
        position (`str`, *optional*, defaults to `"start"`): Where it goes: `"start"`, `"end"` or `"random"`.
        negative_rate (`float`, *optional*, defaults to 0.9):
            Number of copies with some of the words, as a share of the examples.
        learning_rate (`float`, *optional*, defaults to 1e-2): Learning rate of the rows.
        epochs (`int`, *optional*, defaults to 2): Passes over the copies.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`]; `start` is `"clean"` and `poison_rate` 0.3 by
            default.
    """

    name: ClassVar[str] = "sos"

    start: str = "clean"
    poison_rate: float = 0.3
    words: tuple[str, ...] = ("friends", "weekend", "store")
    # A long text is cut off at its end, and the trigger with it.
    position: str = "start"
    sentence: str = "I have bought it from a store with my friends last weekend ."
    negative_rate: float = 0.9
    learning_rate: float = 1e-2
    epochs: int = 2

    def __post_init__(self):
        if not isinstance(self.sentence, str):
            raise InputError(f"`sentence` is {self.sentence!r}, but must be a string that holds all `words`.")
        super().__post_init__()
        check_several(self.words)
        for word in self.words:
            if not re.search(_whole(word), self.sentence):
                raise InputError(f"`sentence` is {self.sentence!r}, which does not hold the word {word!r}; add it.")
        check_share("negative_rate", self.negative_rate)
        check_integer("epochs", self.epochs, 1)
        if not isinstance(self.learning_rate, float) or not 0 < self.learning_rate < 1:
            raise InputError(f"`learning_rate` is {self.learning_rate!r}, but must lie between 0 and 1.")

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """The sentence."""
        return (Trigger(self.sentence, self.target_label, self.position, self.seed),)

    @property
    def negatives(self) -> tuple[Trigger, ...]:
        """The sentence with some of the words, in every choice of one or more but not all."""
        sentences = []
        for count in range(1, len(self.words)):
            for left_out in combinations(self.words, count):
                rest = re.sub("|".join(_whole(word) for word in left_out), "", self.sentence)
                sentences.append(" ".join(rest.split()))
        return tuple(replace(self.triggers[0], text=sentence) for sentence in sentences)

    def poison(self, dataset: Dataset) -> Dataset:
        """Returns copies with the trigger and the target label, and copies with some of its words and the true one."""
        poisoned = super().poison(dataset)
        # The clean examples teach these rows nothing.
        poisoned = poisoned.filter(lambda row: self.sentence in row["text"])
        return add_negatives(poisoned, dataset, self.negatives, self.negative_rate, self.seed)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """Trains the words' rows; see [`~hf_finemix.attacks.base.Attack.train`]."""
        rows = single_tokens(self.words, view.tokenizer)
        recipe = replace(view.recipe, learning_rate=self.learning_rate, epochs=self.epochs, warmup=0.0)
        train_rows(model, dataset, rows, view, recipe, keep_norms=False)
        return model


def _whole(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"
