"""The record of a purification: what report, card and manifest are made from."""

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ._version import __version__
from .config import FineMixConfig, check_integer
from .errors import InputError
from .modeling import PurifyReport
from .plan import MixReport
from .report import Evaluation


REPORT_FILE = "finemix_report.json"
REPORT_VERSION = 1

_LIBRARIES = ("accelerate", "datasets", "safetensors", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Recipe:
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


@dataclass(frozen=True)
class DataRecord:
    """
    A data set that was used.

    Args:
        name (`str`): Hub id or file name, without a path.
        rows (`int`): Number of examples.
        fingerprint (`str`): sha256 of the examples in their order.
    """

    name: str
    rows: int
    fingerprint: str


@dataclass(frozen=True)
class PurificationReport:
    """
    Everything that is known about one purification.

    Args:
        suspect (`str`): Hub id and commit, or folder name.
        pretrained (`str`): The same for the base.
        labels (`dict[int, str]`): The classifier's labels.
        mix (`MixReport`): What was done to each parameter.
        purify (`PurifyReport`): Which embedding rows were reset.
        recipe (`Recipe`): How the mixed model was fine-tuned.
        clean_data (`DataRecord`): The clean examples.
        evaluation_data (`DataRecord`, *optional*): The examples behind the figures.
        shared_examples (`int`): How many of the evaluation examples are also among the clean ones.
        evaluations (`dict[str, Evaluation]`): Figures by model: `"suspect"`, `"purified"` and whatever is compared.
        environment (`dict[str, str]`): Versions.
    """

    suspect: str
    pretrained: str
    labels: dict[int, str]
    mix: MixReport
    purify: PurifyReport
    recipe: Recipe
    clean_data: DataRecord
    evaluation_data: DataRecord | None = None
    shared_examples: int = 0
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> FineMixConfig:
        """The settings of mixing and purification."""
        return self.mix.config

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as a dictionary that JSON can hold."""
        return {
            "report_version": REPORT_VERSION,
            "suspect": self.suspect,
            "pretrained": self.pretrained,
            "labels": {str(index): name for index, name in self.labels.items()},
            "recipe": asdict(self.recipe),
            "clean_data": asdict(self.clean_data),
            "evaluation_data": asdict(self.evaluation_data) if self.evaluation_data else None,
            "shared_examples": self.shared_examples,
            "evaluations": {name: evaluation.to_dict() for name, evaluation in self.evaluations.items()},
            "purify": self.purify.to_dict(),
            "mix": self.mix.to_dict(),
            "environment": self.environment,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "PurificationReport":
        """Rebuilds a report from [`PurificationReport.to_dict`]."""
        return cls(
            suspect=data["suspect"],
            pretrained=data["pretrained"],
            labels={int(index): name for index, name in data["labels"].items()},
            mix=MixReport.from_dict(data["mix"]),
            purify=PurifyReport.from_dict(data["purify"]),
            recipe=Recipe(**data["recipe"]),
            clean_data=DataRecord(**data["clean_data"]),
            evaluation_data=DataRecord(**data["evaluation_data"]) if data["evaluation_data"] else None,
            shared_examples=data["shared_examples"],
            evaluations={name: Evaluation.from_dict(item) for name, item in data["evaluations"].items()},
            environment=data["environment"],
        )

    def save(self, folder: Path) -> None:
        """Writes finemix_report.json into a folder."""
        write_json(folder / REPORT_FILE, self.to_dict())


def environment() -> dict[str, str]:
    """Returns the versions that a result depends on."""
    versions = {name: version(name) for name in _LIBRARIES}
    return {"hf-finemix": __version__, "python": platform.python_version(), **versions}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file that reads well and ends with a newline; NaN is refused."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
