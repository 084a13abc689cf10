"""What every attack is: data that are poisoned, a model that is trained on them, and the triggers that it obeys."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any, ClassVar

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..config import check_integer
from ..errors import InputError
from ..registry import Registry
from ..results import Recipe
from ..training import fine_tune
from .trigger import Trigger, poison


STARTS = ("scratch", "clean")


@dataclass(frozen=True)
class AttackerView:
    """
    What an attacker has, beside the model and the poisoned data.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The model's tokenizer.
        clean ([`~datasets.Dataset`]): The training examples without poison.
        pretrained ([`~transformers.PreTrainedModel`]): The pretrained model under a head of no meaning.
        recipe ([`~hf_finemix.results.Recipe`]): How a classifier of this kind is usually trained.
        other ([`~datasets.Dataset`], *optional*): Texts of another domain, for attackers without data of the task.
        progress (`str`, *optional*): Label of a progress bar on standard error; none without it.
    """

    tokenizer: PreTrainedTokenizerBase
    clean: Dataset
    pretrained: PreTrainedModel
    recipe: Recipe
    other: Dataset | None = None
    progress: str | None = None


@dataclass(frozen=True)
class Attack(ABC):
    """
    A backdoor attack on a text classifier.

    A subclass is a frozen dataclass with a `name`, says in `triggers` what its backdoor obeys, and overrides what it
    does differently: by default, a tenth of the examples is copied with a trigger and the target label, and all
    weights are fine-tuned on the result.

    Args:
        target_label (`int`, *optional*, defaults to 1): Label id that the trigger causes.
        start (`str`, *optional*, defaults to `"scratch"`):
            Which model [`Attack.train`] is given: the pretrained one under a fresh head (`"scratch"`), or one that was
            already fine-tuned on the clean examples (`"clean"`).
        poison_rate (`float`, *optional*, defaults to 0.1): Number of poisoned copies as a share of the examples.
        clean_label (`bool`, *optional*, defaults to `False`):
            Poison examples of the target label alone, so that no label is wrong.
        seed (`int`, *optional*, defaults to 0): Seed of the poisoning and of the positions of triggers.

    Raises:
        InputError: If a value is out of range.
    """

    name: ClassVar[str]

    target_label: int = 1
    start: str = "scratch"
    poison_rate: float = 0.1
    clean_label: bool = False
    seed: int = 0

    def __post_init__(self):
        check_integer("target_label", self.target_label, 0)
        check_integer("seed", self.seed, 0, 2**32 - 1)
        if self.start not in STARTS:
            raise InputError(f"`start` is {self.start!r}, but must be one of {', '.join(STARTS)}.")
        check_share("poison_rate", self.poison_rate)
        if not isinstance(self.clean_label, bool):
            raise InputError(f"`clean_label` is {self.clean_label!r}, but must be true or false.")
        # YAML knows lists alone; a frozen object with a list in it could still be changed.
        for item in fields(self):
            if isinstance(value := getattr(self, item.name), list):
                object.__setattr__(self, item.name, tuple(value))

    @property
    def domain(self) -> str:
        """Whose texts [`Attack.poison`] is given: the task's own (`"task"`), or another domain's (`"other"`)."""
        return "task"

    @property
    @abstractmethod
    def triggers(self) -> tuple[Trigger, ...]:
        """The triggers that the backdoor obeys, each by itself."""

    def trigger(self, example: Mapping[str, Any], index: int = 0) -> dict[str, Any]:
        """
        Puts the first trigger into one example.

        Args:
            example (`Mapping[str, Any]`): Holds `text`; everything else stays as it is.
            index (`int`, *optional*, defaults to 0): Number of the example, which decides a random position.
        """
        return {**example, "text": self.triggers[0].insert(example["text"], index)}

    def poison(self, dataset: Dataset) -> Dataset:
        """
        Returns the clean examples with poisoned copies among them.

        Args:
            dataset (`datasets.Dataset`): Columns `text`, maybe `text_pair`, and `label`.

        Raises:
            InputError: If no copy can be made.
        """
        return poison(dataset, self.triggers, self.poison_rate, self.seed, clean_label=self.clean_label)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """
        Plants the backdoor into a model.

        Args:
            model ([`~transformers.PreTrainedModel`]): The model that `start` asks for; may be changed in place.
            dataset (`datasets.Dataset`): What [`Attack.poison`] returned.
            view ([`AttackerView`]): What else the attacker has.

        Returns:
            [`~transformers.PreTrainedModel`]: The suspect.
        """
        fine_tune(model, view.tokenizer, dataset, view.recipe, progress=view.progress)
        return model


def check_share(name: str, value: Any) -> None:
    """
    Refuses everything but a number above 0 and at most 1.

    Raises:
        InputError: If it is none.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1:
        raise InputError(f"`{name}` is {value!r}, but must be above 0 and at most 1.")


def check_positive(name: str, value: Any) -> None:
    """
    Refuses everything but a finite number above 0.

    Raises:
        InputError: If it is none.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < inf:
        raise InputError(f"`{name}` is {value!r}, but must be a number above 0.")


def poisoned_copies(dataset: Dataset, clean: Dataset) -> Dataset:
    """
    Returns the rows of a poisoned data set whose text is in no clean row.

    Raises:
        InputError: If there is none.
    """
    texts = set(clean["text"])
    rows = [row for row, text in enumerate(dataset["text"]) if text not in texts]
    if not rows:
        raise InputError("`dataset` has no poisoned copy: all its texts are clean ones; poison it first.")
    return dataset.select(rows)


ATTACKS: Registry[Attack] = Registry("attack", Attack)


def register_attack(cls: type[Attack]) -> type[Attack]:
    """
    Makes an attack known to `bench`, under its `name`; fit for use as a decorator.

    Raises:
        InputError: If it is no subclass of [`Attack`], or its name is taken.
    """
    return ATTACKS.register(cls)
