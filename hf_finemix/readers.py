"""Reads a local data file or a Hub dataset into columns; the one place that knows about file formats."""

import csv
import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import packaged_modules

from .errors import InputError
from .parquet_size import check_parquet


# `id`, `id:split` or `id:config:split`; a split may be sliced, as in `train[:100]`.
HUB_DATASET = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)((:(?P<config>[^:\[\]]+))?:(?P<split>[\w.-]+(\[[^\]]*\])?))?")

# `load_dataset("csv")` is no Hub dataset: it would read whatever csv files lie in the working directory.
FORMAT_NAMES = {module.name for module in pkgutil.iter_modules(packaged_modules.__path__)}


# No data set for a classifier has as many; each row is given all of them, also those that it lacks.
_MOST_COLUMNS = 1000


@dataclass(frozen=True)
class Table:
    """
    Columns of a data source, values as they were read.

    Args:
        source (`str`):
            The argument and its value, as error messages name them.
        columns (`dict[str, Sequence]`):
            Column names and their values, all of one length.
        class_names (`dict[str, list[str]]`, *optional*, defaults to `{}`):
            For columns of class ids: the name of each id.
    """

    source: str
    columns: dict[str, Sequence]
    class_names: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_table(data: datasets.Dataset | str | Path, argument: str) -> Table:
    """
    Reads a data source. Local files are read into memory and leave nothing on disk.

    Args:
        data (`datasets.Dataset`, `str` or `Path`):
            A data set; a local csv, tsv, json (array of objects), jsonl, parquet or txt (one text per line) file; or a
            Hub dataset id: `id`, `id:split` or `id:config:split`. The split is `train` unless named. A string that is
            an existing path is that path.
        argument (`str`):
            The argument that `data` came from, for error messages.

    Returns:
        [`Table`]: At least one row.

    Raises:
        InputError: If the source does not exist, cannot be read or has no rows.
    """
    if isinstance(data, datasets.Dataset):
        table = _table_from_dataset(data, argument)
    elif isinstance(data, (str, Path)):
        source = f"{argument} {str(data)!r}"
        is_local = isinstance(data, Path) or _looks_like_path(data)
        table = _read_file(Path(data), source) if is_local else _read_hub_dataset(data, source)
    else:
        kind = type(data).__name__
        raise InputError(f"{argument} is a {kind}, but must be a `datasets.Dataset`, a path or a Hub dataset id.")
    if not len(table):
        raise InputError(f"{table.source} has no rows; at least one is needed.")
    return table


def _looks_like_path(data: str) -> bool:
    """Whether a string means a local file, be it there or not, rather than a Hub dataset."""
    path = data.split(":")[0]
    return (
        Path(data).exists()
        or Path(path).exists()
        or Path(path).suffix.lower() in READERS
        or path.startswith((".", "/", "~"))
        or "\\" in path
        or path.count("/") > 1
    )


def _table_from_dataset(dataset: datasets.Dataset, source: str) -> Table:
    # A format such as "torch" would turn the labels into tensors.
    dataset = dataset.with_format(None)
    class_names = {
        name: feature.names for name, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)
    }
    return Table(source, {name: dataset[name] for name in dataset.column_names}, class_names)


def _read_hub_dataset(data: str, source: str) -> Table:
    match = HUB_DATASET.fullmatch(data)
    if match is None:
        raise InputError(f"{source} is neither a file nor a Hub dataset: `id`, `id:split` or `id:config:split`.")
    if match["id"] in FORMAT_NAMES:
        raise InputError(f"{source} is the name of a file format; give the file itself.")
    try:
        dataset = datasets.load_dataset(match["id"], match["config"], split=match["split"] or "train")
    # Network, Hub and file-format libraries each raise exceptions of their own, some derived from `Exception` alone.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{source} is no file here and could not be loaded from the Hub ({reason}); check the id, the split "
            "and the connection."
        ) from error
    return _table_from_dataset(dataset, source)


def _read_file(path: Path, source: str) -> Table:
    if path.is_dir():
        raise InputError(f"{source} is a folder; name the data file in it.")
    if not path.is_file():
        raise InputError(f"{source}: no such file; check the path, or give a Hub dataset as `id:config:split`.")
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{source} has an unknown file type {path.suffix!r}; known ones are {', '.join(READERS)}.")
    try:
        return read(path, source)
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8 text ({error.reason}); save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or 'the data are damaged'}.") from None


def _read_csv(path: Path, source: str) -> Table:
    """All values stay strings: the texts `NA`, `null` and `1` are texts."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            rows = [row for row in reader if row]
        except csv.Error as error:
            hint = "quote every field that holds a quote or a line break, and double the quotes in it"
            raise InputError(f"{source}, line {reader.line_num}: {error}; {hint}.") from None
    header, *rows = rows or [[]]
    _check_columns(len(header), source)
    if len(set(header)) < len(header):
        raise InputError(f"{source} names a column twice: {', '.join(map(repr, header))}; rename one.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise InputError(
                f"{source}, row {number} has {len(row)} fields, but the header has {len(header)}; quote fields that "
                f"hold a {delimiter!r}."
            )
    return Table(source, {name: [row[i] for row in rows] for i, name in enumerate(header)})


def _read_json(path: Path, source: str) -> Table:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        hint = "a file with one object per line needs the suffix .jsonl"
        raise InputError(f"{source}, line {error.lineno}: {error.msg}; {hint}.") from None
    if not isinstance(rows, list):
        raise InputError(f"{source} holds one {type(rows).__name__}, but must hold an array of objects.")
    for number, row in enumerate(rows, start=1):
        _check_object(row, f"{source}, row {number}")
    return _table_from_objects(rows, source)


def _read_json_lines(path: Path, source: str) -> Table:
    rows = []
    for number, line in _read_lines(path):
        where = f"{source}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: {error.msg}; every line must hold one JSON object.") from None
        _check_object(row, where)
        rows.append(row)
    return _table_from_objects(rows, source)


def _read_parquet(path: Path, source: str) -> Table:
    check_parquet(path, source)
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid:
        raise InputError(f"{source} is no parquet file, or a damaged one.") from None
    # By way of a data set, because its features keep the names of class ids.
    return _table_from_dataset(datasets.Dataset(table), source)


def _read_text(path: Path, source: str) -> Table:
    return Table(source, {"text": [line for _, line in _read_lines(path)]})


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields number, from 1, and content of the lines that hold more than white space."""
    # Unlike `str.splitlines`, a file breaks at line feeds and carriage returns alone.
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\n")


def _check_object(row: Any, where: str) -> None:
    if not isinstance(row, dict):
        raise InputError(f"{where} holds a {type(row).__name__}, but must be an object such as {{'text': ...}}.")


def _check_columns(number: int, source: str) -> None:
    if number > _MOST_COLUMNS:
        raise InputError(f"{source} has more than {_MOST_COLUMNS:,} columns; leave out those that are not needed.")


def _table_from_objects(rows: list[dict[str, Any]], source: str) -> Table:
    """Turns rows into columns; a key that a row lacks is `None` there."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
        _check_columns(len(names), source)
    return Table(source, {name: [row.get(name) for row in rows] for name in names})


READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}
