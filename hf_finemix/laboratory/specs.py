"""What is to be made and measured: clean models, suspects and cells, each with an id of its own."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from ..attacks.base import Attack
from ..attacks.registered import ATTACKS
from ..defenses.base import Defense
from ..defenses.registered import DEFENSES
from ..results import Recipe
from ..serialization import Record
from ..tasks.task import Task
from .base_models import BaseModel


# The held-out clean texts of a task, as a source of token counts.
CLEAN_TEXTS = "clean texts"


@dataclass(frozen=True)
class CleanSpec(Record):
    """
    A classifier that is fine-tuned without poison.

    Args:
        task ([`~hf_finemix.tasks.task.Task`]): The task.
        model ([`BaseModel`]): The pretrained model.
        seed (`int`): Seed of the head, of the shuffling and of dropout.
    """

    task: Task
    model: BaseModel
    seed: int

    @property
    def id(self) -> str:
        """Name of its files."""
        return _identify([self.task.name, self.model.name, f"clean-s{self.seed}"], self.essence)

    @property
    def essence(self) -> "CleanSpec":
        """The same without what makes no difference to the weights."""
        return replace(self, task=replace(self.task, title=""), model=replace(self.model, title=""))

    @property
    def recipe(self) -> Recipe:
        """How it is trained, and how an attacker would train."""
        return Recipe(
            epochs=self.task.epochs or self.model.epochs,
            learning_rate=self.model.learning_rate,
            batch_size=self.model.batch_size,
            max_length=self.task.max_length,
            frequencies="none",
            seed=self.seed,
            warmup=0.06,
            group_by_length=True,
        )


@dataclass(frozen=True)
class SuspectSpec(Record):
    """
    A classifier with a planted backdoor.

    Args:
        clean ([`CleanSpec`]): The clean classifier of the same task, model and seed.
        label (`str`): What the attack is called in tables.
        attack (`dict[str, Any]`): Its settings, with its `name`.
        other (`Task`, *optional*): The task whose texts an attacker takes that has none of the task itself.
        rank_by (`tuple[str, ...]`): Sources of token counts; by each, E-PUR's rank of the triggers is recorded.
    """

    clean: CleanSpec
    label: str
    attack: dict[str, Any]
    other: Task | None = None
    rank_by: tuple[str, ...] = ("vocabulary",)

    @property
    def id(self) -> str:
        """Name of its files."""
        clean = self.clean
        return _identify([clean.task.name, clean.model.name, f"{self.label}-s{clean.seed}"], self.essence)

    @property
    def essence(self) -> "SuspectSpec":
        """The same without what makes no difference to the weights."""
        other = None if self.other is None else replace(self.other, title="")
        return replace(self, clean=self.clean.essence, other=other, rank_by=())

    def make_attack(self) -> Attack:
        """Returns the attack, with the task's target label and the seed."""
        return ATTACKS.make(self.attack | {"target_label": self.clean.task.target_label, "seed": self.clean.seed})


@dataclass(frozen=True)
class CellSpec(Record):
    """
    One defence against one suspect.

    Args:
        suspect ([`SuspectSpec`]): The suspect.
        label (`str`): What the defence is called in tables.
        defense (`dict[str, Any]`): Its settings, with its `name`.
        e_pur (`bool`): Whether suspicious embeddings are reset.
        clean_examples (`int`): Number of clean examples that the defender has.
        margin (`float`): How far below the suspect's accuracy on held-out clean examples a setting may be chosen.
        recipe ([`~hf_finemix.results.Recipe`]): How the defender fine-tunes, and the token counts of E-PUR.
        others (`tuple[CleanSpec, ...]`): Other fine-tuned models, for defences that use some.
    """

    suspect: SuspectSpec
    label: str
    defense: dict[str, Any]
    e_pur: bool
    clean_examples: int
    margin: float
    recipe: Recipe
    others: tuple[CleanSpec, ...] = ()

    @property
    def id(self) -> str:
        """Name of its file."""
        clean = self.suspect.clean
        parts = [clean.task.name, clean.model.name, f"{self.suspect.label}-s{clean.seed}", self.label]
        parts += ["epur"] if self.e_pur else []
        others = tuple(other.essence for other in self.others)
        essence = replace(self, suspect=self.suspect.essence, others=others)
        return _identify([*parts, f"n{self.clean_examples}"], essence)

    def make_defense(self) -> Defense:
        """Returns the defence."""
        return DEFENSES.make(self.defense)


def identify(source: Task | BaseModel) -> str:
    """Returns a name that tells a task or a pretrained model from every other one, titles apart."""
    return _identify([source.name], replace(source, title=""))


def _identify(parts: list[str], spec: Record) -> str:
    # The digest tells apart what the readable part does not: sizes, rates, sources.
    content = json.dumps(spec.to_dict(), sort_keys=True).encode()
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(parts))
    # A file's name has 255 bytes at most; the ends of locks and JSON files are a part of it.
    return f"{readable[:200]}-{hashlib.sha256(content).hexdigest()[:10]}"
