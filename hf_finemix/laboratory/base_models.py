"""The pretrained models of the laboratory: where they are, and how classifiers are made from them."""

from dataclasses import dataclass
from pathlib import Path

from ..config import check_integer, check_learning_rate
from ..errors import InputError, nearest
from ..loading import Checkpoint, resolve_checkpoint
from ..serialization import Record
from ..tasks.packages import WEIGHTS
from ..tasks.task import read_description


_FOLDER = Path(__file__).parent.parent / "tasks" / "models"


@dataclass(frozen=True)
class BaseModel(Record):
    """
    A pretrained model, and how it is fine-tuned into a classifier.

    Args:
        name (`str`): Its name.
        title (`str`): What it is, in a few words.
        hub (`str`, *optional*): Its Hub id, `id@revision` or folder.
        weights (`str`, *optional*): Instead of `hub`: its name in [`~hf_finemix.tasks.packages.WEIGHTS`].
        epochs, learning_rate, batch_size: The settings of the training of clean models and suspects.
        train (`int`, *optional*): Largest number of training examples, if fewer than the task's are enough.

    Raises:
        InputError: If a value is out of range.
    """

    name: str
    title: str = ""
    hub: str | None = None
    weights: str | None = None
    epochs: int = 2
    learning_rate: float = 5e-5
    batch_size: int = 32
    train: int | None = None

    def __post_init__(self):
        check_integer("epochs", self.epochs, 1)
        check_integer("batch_size", self.batch_size, 1)
        check_learning_rate(self.learning_rate)
        if self.train is not None:
            check_integer("train", self.train, 1)
        if (self.hub is None) == (self.weights is None):
            raise InputError(f"Model {self.name!r} must name either `hub` or `weights`.")
        if self.weights is not None and self.weights not in WEIGHTS:
            raise InputError(f"Unknown weights {self.weights!r}{nearest(self.weights, WEIGHTS)}")

    def resolve(self) -> Checkpoint:
        """
        Finds the weights, downloading them if they are on the Hub.

        Raises:
            InputError: If they cannot be had.
        """
        source = self.hub if self.weights is None else WEIGHTS[self.weights]()
        return resolve_checkpoint(source, f"model {self.name!r}")


def load_base_model(name: str) -> BaseModel:
    """
    Reads the description of a pretrained model.

    Args:
        name (`str`): Name of one that comes with the package, path of a YAML file, or else a Hub id or a folder, which
            is trained with the defaults of [`BaseModel`].

    Raises:
        InputError: If there is no such model, or its description is wrong.
    """
    if not name.endswith((".yaml", ".yml")) and ("/" in name or Path(name).is_dir()):
        return BaseModel(name=Path(name.split("@")[0]).name, hub=name)
    return read_description(name, _FOLDER, "model", BaseModel)
