"""Tasks: which texts, how many of them for what, and which label an attack is after."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset, concatenate_datasets

from ..config import check_integer
from ..data import load_examples, split, stratified_sample
from ..errors import InputError, nearest, reason
from ..serialization import Record, read_yaml
from .packages import READERS


_FOLDER = Path(__file__).parent
_SHUFFLE_SEED = 0
_T = TypeVar("_T", bound=Record)
_SOURCES = {
    "reader": ("reader", "arguments"),
    "hub": ("hub", "config", "train", "test", "text_columns", "label_column"),
    "train_file": ("train_file", "test_file", "text_columns", "label_column"),
}


@dataclass(frozen=True)
class Splits:
    """
    Disjoint parts of a task's examples.

    Args:
        train ([`~datasets.Dataset`]): For clean models and suspects.
        test ([`~datasets.Dataset`]): For the figures.
        validation ([`~datasets.Dataset`]): Clean examples by which a defence's setting is chosen.
        pool ([`~datasets.Dataset`]): What the defender's few clean examples are drawn from.
        rest ([`~datasets.Dataset`]): What no other part needs; may be empty.
    """

    train: Dataset
    test: Dataset
    validation: Dataset
    pool: Dataset
    rest: Dataset

    def clean(self, size: int, seed: int) -> Dataset:
        """Draws the defender's clean examples; with one seed, a larger draw contains a smaller one."""
        return stratified_sample(self.pool, size, seed)

    def unlabeled(self, size: int, clean_examples: int, seed: int) -> Dataset:
        """
        Returns up to `size` texts of which the defender knows no label.

        None is among the clean examples of the same seed, nor among those that models are trained or measured on.
        """
        _, others = split(self.pool, clean_examples, seed)
        texts = concatenate_datasets([others, self.rest]).remove_columns("label")
        return texts.select(range(min(size, len(texts))))


@dataclass(frozen=True)
class Task(Record):
    """
    A classification task of the laboratory.

    Args:
        name (`str`): Its name.
        title (`str`): What its texts are, in a few words.
        labels (`tuple[str, ...]`): The label names, in the order of their ids.
        target_label (`int`): The label that attacks are after.
        source (`dict[str, Any]`):
            Where the examples come from. `hub`: a data set, with its `config` and the splits `train` and maybe `test`.
            `train_file`: a local file that `purify` could read too, and maybe `test_file`. Both may name
            `text_columns` and `label_column`. `reader`: a reader of [`~hf_finemix.tasks.packages`], with its
            `arguments`.
        train, test, validation, pool (`int`): Sizes of the parts; `train` is the largest number to take.
        max_length (`int`): Longest input in tokens.
        epochs (`int`, *optional*): Passes over the training examples, if the model's usual number is not enough.

    Raises:
        InputError: If a value is out of range.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    target_label: int
    source: dict[str, Any]
    train: int = 4500
    test: int = 800
    validation: int = 256
    pool: int = 640
    max_length: int = 64
    epochs: int | None = None

    def __post_init__(self):
        if len(self.labels) < 2:
            raise InputError(f"`labels` is {list(self.labels)!r}, but a task has at least two.")
        if len(set(self.labels)) < len(self.labels):
            raise InputError(f"`labels` is {list(self.labels)!r}, which names a label twice.")
        if self.epochs is not None:
            check_integer("epochs", self.epochs, 1)
        check_integer("target_label", self.target_label, 0, len(self.labels) - 1)
        for name in ("train", "test", "validation", "pool", "max_length"):
            check_integer(name, getattr(self, name), 1)
        for key in ("hub", "config", "train", "test", "train_file", "test_file", "label_column"):
            if key in self.source and not isinstance(self.source[key], str):
                raise InputError(f"`{key}` of `source` is {self.source[key]!r}, but must be a text.")
        if not isinstance(self.source.get("arguments", {}), dict):
            raise InputError(f"`arguments` of `source` is {self.source['arguments']!r}, but must hold settings.")
        columns = self.source.get("text_columns", ["text"])
        if not isinstance(columns, (list, tuple)) or not all(isinstance(column, str) for column in columns):
            raise InputError(f"`text_columns` of `source` is {columns!r}, but must be a list of names.")
        kind = next((kind for kind in _SOURCES if kind in self.source), None)
        if kind is None:
            raise InputError(f"`source` names none of {', '.join(_SOURCES)}.")
        for key in self.source:
            if key not in _SOURCES[kind]:
                raise InputError(f"`source` has no field {key!r}{nearest(key, _SOURCES[kind])}")
        if kind == "reader" and self.source["reader"] not in READERS:
            raise InputError(f"Unknown reader {self.source['reader']!r}{nearest(self.source['reader'], READERS)}")

    @property
    def is_pair(self) -> bool | None:
        """Whether examples are pairs of texts; `None` if only reading them would tell."""
        columns = self.source.get("text_columns")
        return None if columns is None else len(columns) == 2

    def load(self) -> Splits:
        """
        Reads the examples and cuts them; the cut depends on nothing but the task.

        Raises:
            InputError: If they cannot be read, or are too few.
        """
        examples, test = self._read()
        needed = self.validation + self.pool + (self.test if test is None else 0)
        if test is not None and len(test) < self.test:
            raise InputError(f"Task {self.name!r} has {len(test)} test examples, but `test` is {self.test}.")
        if len(examples) <= needed:
            raise InputError(f"Task {self.name!r} has {len(examples)} examples, but needs more than {needed}.")
        sizes = {"validation": self.validation, "pool": self.pool}
        if test is None:
            sizes = {"test": self.test} | sizes
        parts, first = {}, 0
        for name, size in sizes.items():
            parts[name] = examples.select(range(first, first + size))
            first += size
        last = min(first + self.train, len(examples))
        train = examples.select(range(first, last))
        # A list: `select` takes no empty range at the end.
        rest = examples.select(list(range(last, len(examples))))
        return Splits(
            train=train, rest=rest, **({} if test is None else {"test": test.select(range(self.test))}), **parts
        )

    def _read(self) -> tuple[Dataset, Dataset | None]:
        source = self.source
        if "reader" in source:
            try:
                return _distinct(READERS[source["reader"]](**source.get("arguments", {}))), None
            except (TypeError, OSError) as error:
                raise InputError(f"Task {self.name!r} cannot be read: {reason(error)}.") from None
        columns = {
            "text_columns": source.get("text_columns"),
            "label_column": source.get("label_column"),
            "label2id": {name: index for index, name in enumerate(self.labels)},
            "num_labels": len(self.labels),
            "argument": f"Task {self.name!r}:",
        }
        if "hub" in source:
            prefix = ":".join([source["hub"], *([source["config"]] if "config" in source else [])])
            names = [f"{prefix}:{split}" for split in (source.get("train", "train"), source.get("test")) if split]
        else:
            names = [source[key] for key in ("train_file", "test_file") if key in source]
        # Files and splits are often sorted by label.
        read = [load_examples(name, **columns).shuffle(seed=_SHUFFLE_SEED) for name in names]
        if len(read) == 1:
            return _distinct(read[0]), None
        # The figures are those of the whole test set: of an example in both, the other one goes.
        return _distinct(read[0], without=read[1]), read[1]


def _distinct(examples: Dataset, without: Dataset | None = None) -> Dataset:
    """Drops all but the first of equal examples, whatever their labels, or the parts would share some."""
    seen = set() if without is None else set(_texts(without))
    rows = []
    for row, texts in enumerate(_texts(examples)):
        if texts not in seen:
            seen.add(texts)
            rows.append(row)
    return examples if len(rows) == len(examples) else examples.select(rows)


def _texts(examples: Dataset) -> list[tuple[str, ...]]:
    return list(zip(*(examples[name] for name in ("text", "text_pair") if name in examples.column_names), strict=True))


def task_names() -> tuple[str, ...]:
    """Returns the names of the tasks that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_task(name: str) -> Task:
    """
    Reads the description of a task.

    Args:
        name (`str`): Name of a task that comes with the package, or path of a YAML file.

    Raises:
        InputError: If there is no such task, or its description is wrong.
    """
    return read_description(name, _FOLDER, "task", Task)


def read_description(name: str, folder: Path, kind: str, cls: type[_T]) -> _T:
    """
    Reads a YAML description; its `name`, if it has none, is that of the file.

    Args:
        name (`str`): Name of one in `folder`, or path of a file that ends in .yaml or .yml.
        folder (`Path`): Where those of the package lie.
        kind (`str`): What it describes, for messages.
        cls (`type`): The record that it describes.

    Raises:
        InputError: If it cannot be read, holds an unknown field or lacks one, or a value is wrong.
    """
    is_path = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_path else folder / f"{name}.yaml"
    known = sorted(item.stem for item in folder.glob("*.yaml"))
    if not is_path and name not in known:
        raise InputError(f"Unknown {kind} {name!r}{nearest(name, known)}")
    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{kind} {name!r} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{kind} {name!r} is no readable YAML ({error}).") from None
    if not isinstance(found, dict):
        raise InputError(f"{kind} {name!r} holds no settings.")
    fields = list(cls.__dataclass_fields__)
    for key in found:
        if key not in fields:
            raise InputError(f"{kind} {name!r} has no field {key!r}{nearest(key, fields)}")
    try:
        return cls.from_dict({"name": path.stem, **found})
    except (TypeError, ValueError) as error:
        raise InputError(f"{kind} {name!r}: {error}") from None
