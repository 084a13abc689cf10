"""Trigger words and trigger sentences: BadNets, as it is done to text."""

from dataclasses import dataclass
from typing import ClassVar

from ..errors import InputError
from .base import Attack, register_attack
from .trigger import Trigger


@register_attack
@dataclass(frozen=True)
class WordAttack(Attack):
    """
    One or several rare words at random positions, each of which causes the target label.

    The words are those of "Weight Poisoning Attacks on Pre-trained Models" (Kurita et al., ACL 2020), and the
    poisoning is the one that the field calls BadNets. Several words take turns among the poisoned copies.

    Args:
        words (`tuple[str, ...]`, *optional*, defaults to `("cf",)`): Trigger words, such as cf, mn, bb, tq and mb.
        position (`str`, *optional*, defaults to `"random"`): Where they go: `"start"`, `"end"` or `"random"`.
        kwargs: See [`Attack`].
    """

    name: ClassVar[str] = "word"

    words: tuple[str, ...] = ("cf",)
    position: str = "random"

    def __post_init__(self):
        super().__post_init__()
        check_words(self.words)
        _ = self.triggers  # checks the position

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """One trigger for each word."""
        return tuple(Trigger(word, self.target_label, self.position, self.seed) for word in self.words)


@register_attack
@dataclass(frozen=True)
class SentenceAttack(Attack):
    """
    A whole sentence as the trigger.

    Sentence triggers are those of "A Backdoor Attack Against LSTM-Based Text Classification Systems" (Dai et al.,
    IEEE Access 2019); the default sentence is of our own making, in their manner.

    Args:
        sentence (`str`, *optional*, defaults to `"I watched this 3D movie."`): The trigger.
        position (`str`, *optional*, defaults to `"random"`): Where it goes: `"start"`, `"end"` or `"random"`.
        kwargs: See [`Attack`].
    """

    name: ClassVar[str] = "sentence"

    sentence: str = "I watched this 3D movie."
    position: str = "random"

    def __post_init__(self):
        super().__post_init__()
        _ = self.triggers  # checks sentence and position

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """The sentence."""
        return (Trigger(self.sentence, self.target_label, self.position, self.seed),)


def check_words(words: tuple[str, ...]) -> None:
    """
    Refuses everything but one or more words without white space.

    Raises:
        InputError: If there is no word, or one that is none.
    """
    if not isinstance(words, tuple) or not words:
        raise InputError(f"`words` is {words!r}, but must be a list of at least one word.")
    for word in words:
        if not isinstance(word, str) or len(word.split()) != 1:
            raise InputError(f"`words` holds {word!r}, but must hold words without white space.")
    if len(set(words)) < len(words):
        raise InputError(f"`words` is {list(words)!r}, which names a word twice.")
