"""Optional parts of a report: a figure, the positive control, the search, the distillation, the suspect's adapter."""

import re
from dataclasses import dataclass

from .insertion import Insertion
from .rates import Rate
from .serialization import Record


_FIGURE = re.compile(r"(figures/)?[\w-]+\.png", re.ASCII)


@dataclass(frozen=True)
class FigureRecord(Record):
    """
    A figure in the output folder.

    Args:
        file (`str`): Its path below the folder, with forward slashes.
        alt (`str`): What it shows, in words, for whoever cannot see it.
        caption (`str`): The line below it.
    """

    file: str
    alt: str
    caption: str

    def __post_init__(self):
        if not _FIGURE.fullmatch(self.file):
            raise ValueError(f"the figure {self.file!r} is no PNG file in a folder of its own")


@dataclass(frozen=True)
class ControlRecord(Record):
    """
    A backdoor that was planted in a copy of the suspect, and what the recipe made of it.

    Args:
        trigger (`str`): Its trigger; if there are several, the one that the recipe leaves most of.
        before ([`~hf_finemix.rates.Rate`]): Its flip rate in the copy.
        after ([`~hf_finemix.rates.Rate`]): The same after the recipe.
        neutral ([`~hf_finemix.rates.Rate`], *optional*):
            Flip rate, after the recipe, of a text of the same kind that nobody planted.
    """

    trigger: str
    before: Rate
    after: Rate
    neutral: Rate | None = None


@dataclass(frozen=True)
class TrialRecord(Record):
    """
    One reserve ratio, tried on the copy of the suspect that holds the positive control.

    Args:
        keep_ratio (`float`): The ratio.
        selection (`str`): Which scalars it keeps.
        accuracy ([`~hf_finemix.rates.Rate`]): Accuracy on held-out labelled examples.
        agreement ([`~hf_finemix.rates.Rate`]):
            The same, and agreement with the suspect on held-out texts without labels.
        control ([`ControlRecord`]): What became of the control.
    """

    keep_ratio: float
    selection: str
    accuracy: Rate
    agreement: Rate
    control: ControlRecord


@dataclass(frozen=True)
class SearchRecord(Record):
    """
    How the reserve ratio was chosen without knowing a trigger.

    Args:
        reference ([`~hf_finemix.rates.Rate`]): The suspect's accuracy on the held-out labelled examples.
        folds (`int`): Parts that were held out in turn; 1 if the labels were held out all at once.
        trials (`tuple[TrialRecord, ...]`): The ratios that were tried, smallest first.
        chosen (`int`): Which of them was chosen.
        removed (`bool`): Whether its control is down to the level of the neutral text.
    """

    reference: Rate
    folds: int
    trials: tuple[TrialRecord, ...]
    chosen: int
    removed: bool

    def __post_init__(self):
        if not 0 <= self.chosen < len(self.trials):
            raise ValueError("it chose a trial that it does not list")


@dataclass(frozen=True)
class DistillationRecord(Record):
    """
    What came of the suspect's answers.

    Args:
        texts (`int`): Texts that the suspect answered.
        left_out (`int`): Texts that were left out, because they hold a token that works as a trigger.
        triggers (`tuple[Insertion, ...]`): These tokens, and how often each flips the suspect's prediction.
        disagreement ([`~hf_finemix.rates.Rate`]):
            Texts to which suspect and purified model give different labels, both with a probability of at least 0.9.
        rows (`tuple[int, ...]`): Numbers of the first of these texts, from 0: the labelled first, then the unlabelled.
        spliced (`int`): How many more texts were spliced from beginnings and ends of these.
    """

    texts: int
    left_out: int
    triggers: tuple[Insertion, ...]
    disagreement: Rate
    rows: tuple[int, ...] = ()
    spliced: int = 0


@dataclass(frozen=True)
class AdapterRecord(Record):
    """
    The adapter that a suspect was, before it was merged into its base.

    Args:
        method (`str`): Its kind, such as `"LoRA"`.
        rank (`int`, *optional*): Its rank.
        modules (`tuple[str, ...]`): The modules that it changes.
        labels (`tuple[str, ...]`, *optional*): Names of a classifier's labels that the user gave it.
    """

    method: str
    rank: int | None
    modules: tuple[str, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScannedGroup(Record):
    """
    Drift of one group of parameters.

    Args:
        group (`str`): Such as `"layer 3 attention"` or `"embeddings"`.
        scalars (`int`): Number of scalars.
        relative_drift (`float`): `||suspect - pretrained|| / ||pretrained||`, over all scalars of the group.
    """

    group: str
    scalars: int
    relative_drift: float

    def __post_init__(self):
        if self.scalars < 0 or not self.relative_drift >= 0:
            raise ValueError(f"the drift of {self.group!r} is {self.relative_drift!r} of {self.scalars} scalars")
