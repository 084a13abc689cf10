"""The record of a purification: what report, card and manifest are made from."""

import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ._version import __version__
from .config import FineMixConfig, check_integer, check_learning_rate
from .errors import InputError
from .hashes import FileRecord
from .plan import MixReport
from .records import AdapterRecord, ControlRecord, DistillationRecord, FigureRecord, ScannedGroup, SearchRecord
from .report import Evaluation
from .resets import PurifyReport
from .serialization import Record, check_version, read_json


REPORT_FILE = "finemix_report.json"
REPORT_VERSION = 1
MAKERS = ("purify", "FineMixTrainer", "FineMixMixin", "mix")

_LIBRARIES = ("accelerate", "datasets", "safetensors", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Recipe(Record):
    """
    Settings of the fine-tuning step, and the token counts that embedding purification goes by.

    Args:
        epochs (`int`): Passes over the clean examples.
        learning_rate (`float`): Peak learning rate of AdamW, decayed linearly to 0.
        batch_size (`int`): Examples a step.
        max_length (`int`): Longest input in tokens.
        frequencies (`str`): Source of the token counts for embedding purification.
        seed (`int`): Seed of the shuffling and of dropout.
        warmup (`float`, *optional*, defaults to 0): Share of the steps in which the learning rate rises.
        group_by_length (`bool`, *optional*, defaults to `False`): Batch texts of about the same length.

    Raises:
        InputError: If a value is out of range.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    max_length: int
    frequencies: str
    seed: int
    warmup: float = 0.0
    group_by_length: bool = False

    def __post_init__(self):
        for name in ("epochs", "batch_size", "max_length"):
            check_integer(name, getattr(self, name), 1)
        check_integer("seed", self.seed, 0, 2**32 - 1)
        if not 0 < self.learning_rate < 1:
            raise InputError(f"`learning_rate` is {self.learning_rate!r}, but must lie between 0 and 1.")
        if not 0 <= self.warmup < 1:
            raise InputError(f"`warmup` is {self.warmup!r}, but must be a share of the steps, from 0 to below 1.")


@dataclass(frozen=True)
class Distillation(Record):
    """
    Settings of the step between mixing and fine-tuning, in which the suspect's answers teach the mixed model.

    The suspect answers honestly where its trigger is not, so that its soft labels on clean texts, which need no label
    of their own, bring accuracy back. Before, tokens whose embedding moved suspiciously far, and those that its
    gradients point to, are put into clean texts: the ones that flip most predictions of the suspect are taken for
    triggers. Texts that hold one of them are left out, and into some of the others they are put, with the label of the
    text without them, which unlearns them. This step is ours; the paper has none.

    Args:
        epochs (`int`, *optional*, defaults to 3): Passes over the texts. 0 leaves the step out.
        learning_rate (`float`, *optional*, defaults to 1e-4): Peak learning rate of AdamW, decayed linearly to 0.
        batch_size (`int`, *optional*, defaults to 32): Texts a step.
        temperature (`float`, *optional*, defaults to 1): Both models' logits are divided by it.
        texts (`int`, *optional*, defaults to 2000):
            Where there are fewer texts than that, others are spliced from the beginnings and ends of these.
        replaced (`float`, *optional*, defaults to 0.3):
            Share of the tokens of spliced texts that random ones of the vocabulary replace, from 0 to 1.
        candidates (`int`, *optional*, defaults to 100):
            How many of the tokens with the highest E-PUR scores are tried as triggers; 0 turns that off.
        flips (`float`, *optional*, defaults to 0.7):
            A token is taken for a trigger if it flips at least so many of the predictions to one label: the lower end
            of the 95 % interval counts. One that gradients alone point to has to flip 0.9 or more.
        share (`float`, *optional*, defaults to 0.5): Share of the texts into which such tokens are put, from 0 to 1.

    Raises:
        InputError: If a value is out of range.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    batch_size: int = 32
    temperature: float = 1.0
    texts: int = 2000
    replaced: float = 0.3
    candidates: int = 100
    flips: float = 0.7
    share: float = 0.5

    def __post_init__(self):
        for name in ("epochs", "texts", "candidates"):
            check_integer(name, getattr(self, name), 0, 2**31)
        check_integer("batch_size", self.batch_size, 1)
        check_learning_rate(self.learning_rate)
        if not 0 < self.temperature <= 100:
            raise InputError(f"`temperature` is {self.temperature!r}, but must be above 0 and at most 100.")
        for name in ("replaced", "flips", "share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"`{name}` is {getattr(self, name)!r}, but must be a number from 0 to 1.")


@dataclass(frozen=True)
class DataRecord(Record):
    """
    A data set that was used.

    Args:
        name (`str`): Hub id (with configuration and split) or file name, without a path.
        rows (`int`): Number of examples.
        fingerprint (`str`, *optional*): sha256 of the examples in their order; `None` if they could not be read twice.
        repo_id (`str`, *optional*): Id of the Hub data set, if it is one.
        text_columns (`tuple[str, ...]`, *optional*): The text columns that were asked for; `None` if by usual names.
        label_column (`str`, *optional*): The same for the labels.
    """

    name: str
    rows: int
    fingerprint: str | None
    repo_id: str | None = None
    text_columns: tuple[str, ...] | None = None
    label_column: str | None = None


@dataclass(frozen=True)
class PurificationReport(Record):
    """
    Everything that is known about one purification.

    Args:
        suspect (`str`): Hub id and commit, or folder name.
        pretrained (`str`): The same for the base.
        architecture (`str`): Class of transformers that the model is.
        labels (`dict[int, str]`): The classifier's labels.
        mix (`MixReport`): What was done to each parameter.
        purify (`PurifyReport`): Which embedding rows were reset.
        made_by (`str`): `"purify"`, `"FineMixTrainer"`, `"FineMixMixin"` or `"mix"`.
        fine_tuned (`bool`): Whether the weights changed after mixing.
        recipe (`Recipe`, *optional*): How `purify` fine-tuned the mixed model.
        training (`dict[str, Any]`, *optional*): Training arguments of a `FineMixTrainer`.
        metrics (`dict[str, float]`): What the training script measured by itself.
        clean_data (`DataRecord`, *optional*): The clean examples.
        evaluation_data (`DataRecord`, *optional*): The examples behind the figures.
        shared_examples (`int`): How many of the evaluation examples were trained on, too.
        evaluations (`dict[str, Evaluation]`): Figures by model: `"suspect"`, `"purified"` and whatever is compared.
        licenses (`dict[str, str | None]`): The licence that the card of `"suspect"` and of `"pretrained"` states.
        control (`ControlRecord`, *optional*): The positive control.
        frontier (`FigureRecord`, *optional*): Accuracy against attack success over the recipes that were tried.
        adapter (`AdapterRecord`, *optional*): What the suspect's adapter was, if it came as one.
        own_template (`bool`, *optional*):
            Whether the suspect's chat template is another than the base's; `None` if they were not compared.
        trained_adapter (`AdapterRecord`, *optional*): The adapter that was trained after mixing, and merged.
        search (`SearchRecord`, *optional*): How the reserve ratio was chosen.
        distillation (`Distillation`, *optional*): How the suspect's answers taught the mixed model.
        distilled (`DistillationRecord`, *optional*): What came of that.
        unlabeled_data (`DataRecord`, *optional*): The clean texts without labels.
        fisher (`FileRecord`, *optional*): The file of Fisher information that ranked the scalars.
        trusted_base (`bool`, *optional*):
            Whether the base's publisher is on the user's list; `None` for a local folder.
        drift (`tuple[ScannedGroup, ...]`): How far the suspect's layers had moved, before anything was mixed.
        environment (`dict[str, str]`): Versions.
    """

    suspect: str
    pretrained: str
    architecture: str
    labels: dict[int, str]
    mix: MixReport
    purify: PurifyReport
    made_by: str = "purify"
    fine_tuned: bool = True
    recipe: Recipe | None = None
    training: dict[str, Any] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    clean_data: DataRecord | None = None
    evaluation_data: DataRecord | None = None
    shared_examples: int = 0
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    licenses: dict[str, str | None] = field(default_factory=dict)
    control: ControlRecord | None = None
    frontier: FigureRecord | None = None
    adapter: AdapterRecord | None = None
    search: SearchRecord | None = None
    distillation: Distillation | None = None
    distilled: DistillationRecord | None = None
    unlabeled_data: DataRecord | None = None
    fisher: FileRecord | None = None
    trusted_base: bool | None = None
    own_template: bool | None = None
    trained_adapter: AdapterRecord | None = None
    drift: tuple[ScannedGroup, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not self.architecture.isidentifier() or self.made_by not in MAKERS:
            raise ValueError(f"it is about a {self.architecture!r} made by {self.made_by!r}")
        triggers = {
            tuple(
                (trigger.trigger, trigger.position, trigger.target_label, trigger.target_text, trigger.seed)
                for trigger in item.triggers
            )
            for item in self.evaluations.values()
        }
        if len(triggers) > 1:
            raise InputError("`evaluations` are not all of the same triggers; measure each model with the same ones.")

    @property
    def config(self) -> FineMixConfig:
        """The settings of mixing and purification."""
        return self.mix.config

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as a dictionary that JSON can hold."""
        return {"report_version": REPORT_VERSION} | super().to_dict()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "PurificationReport":
        """
        Rebuilds a report from [`PurificationReport.to_dict`].

        Raises:
            TypeError: If a value is not of the type that its field is declared with.
            ValueError: If a field or the version of the report is unknown.
        """
        fields = dict(data)
        check_version(fields.pop("report_version", None), REPORT_VERSION)
        return super().from_dict(fields)


def load_report(folder: Path) -> PurificationReport:
    """
    Reads finemix_report.json of a folder, as any file of a stranger.

    Raises:
        InputError: If there is none, or it is damaged.
    """
    return read_json(folder / REPORT_FILE, PurificationReport.from_dict)


def environment() -> dict[str, str]:
    """Returns the versions that a result depends on."""
    versions = {name: version(name) for name in _LIBRARIES}
    return {"hf-finemix": __version__, "python": platform.python_version(), **versions}
