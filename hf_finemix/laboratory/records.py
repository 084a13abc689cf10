"""What the laboratory writes: one JSON file for each suspect and for each cell of the grid."""

from dataclasses import dataclass, field
from typing import Any

from ..rates import Rate
from ..report import Evaluation
from ..results import Recipe
from ..serialization import Record


@dataclass(frozen=True)
class RankRecord(Record):
    """
    Where E-PUR ranks a trigger among all tokens of a suspect.

    Args:
        trigger (`str`): The trigger.
        frequencies (`str`): Source of the token counts.
        token (`str`): Of the trigger's tokens, the one that ranks first.
        rank (`int`): Its rank, from 1.
        vocabulary (`int`): Number of tokens.
    """

    trigger: str
    frequencies: str
    token: str
    rank: int
    vocabulary: int


@dataclass(frozen=True)
class SuspectRecord(Record):
    """
    A suspect that was made, beside the clean model of the same task and seed.

    Args:
        task (`str`): The task.
        model (`str`): The pretrained model.
        attack (`str`): Label of the attack.
        seed (`int`): The seed.
        settings (`dict[str, Any]`): The attack's settings, with its `name`.
        evaluation ([`Evaluation`], *optional*): The suspect on the test examples.
        baseline ([`Evaluation`], *optional*): The clean model on the same, with the same triggers.
        rank_by (`tuple[str, ...]`): Sources of the token counts by which the triggers were ranked.
        ranks (`tuple[RankRecord, ...]`): Where E-PUR ranks the triggers, of those whose words stand in a text.
        seconds (`float`): Time that making and measuring it took.
        error (`str`, *optional*): Why there is no suspect.
    """

    task: str
    model: str
    attack: str
    seed: int
    settings: dict[str, Any]
    evaluation: Evaluation | None = None
    baseline: Evaluation | None = None
    rank_by: tuple[str, ...] = ()
    ranks: tuple[RankRecord, ...] = ()
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class CandidateRecord(Record):
    """
    One setting of a defence, tried on one suspect.

    Args:
        setting (`dict[str, float]`): Such as `{"keep_ratio": 0.3}`; empty if the defence has none.
        validation ([`Rate`]): Accuracy on held-out clean examples, by which the setting is chosen.
        evaluation ([`Evaluation`]): Figures on the test examples.
        seconds (`float`): Time that the defence took, without measuring.
    """

    setting: dict[str, float]
    validation: Rate
    evaluation: Evaluation
    seconds: float


@dataclass(frozen=True)
class CellRecord(Record):
    """
    One defence against one suspect.

    Args:
        task (`str`): The task.
        model (`str`): The pretrained model.
        attack (`str`): Label of the attack.
        seed (`int`): The seed.
        defense (`str`): Label of the defence.
        settings (`dict[str, Any]`): The defence's settings, with its `name`.
        e_pur (`bool`): Whether suspicious embeddings were reset.
        clean_examples (`int`): Number of clean examples that the defender had.
        margin (`float`): How far below the suspect's accuracy a setting may be chosen.
        recipe ([`~hf_finemix.results.Recipe`]): How the defender fine-tuned, and the token counts of E-PUR.
        reference ([`Rate`], *optional*): The suspect's accuracy on the held-out clean examples.
        candidates (`tuple[CandidateRecord, ...]`): All settings that were tried, strongest first.
        chosen (`int`, *optional*): Which of them was chosen.
        within_margin (`bool`): Whether its accuracy is within the margin; if not, it is the most accurate one.
        outcomes (`dict[str, str]`):
            What the chosen model did on each test example, in their order, as one digit each. `"clean"`: 1 if it was
            right. `"trigger 0"` and so on, over the examples of other labels than the target: 1 if it predicted the
            target.
        seconds (`float`): Time that the cell took.
        error (`str`, *optional*): Why there are no figures.
        environment (`dict[str, str]`): Versions.
    """

    task: str
    model: str
    attack: str
    seed: int
    defense: str
    settings: dict[str, Any]
    e_pur: bool
    clean_examples: int
    margin: float
    recipe: Recipe
    reference: Rate | None = None
    candidates: tuple[CandidateRecord, ...] = ()
    chosen: int | None = None
    within_margin: bool = True
    outcomes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def result(self) -> CandidateRecord | None:
        """The chosen setting with its figures; `None` if the cell failed."""
        return None if self.chosen is None else self.candidates[self.chosen]
