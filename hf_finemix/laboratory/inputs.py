"""What the results of a bench rest on: texts and pretrained weights, tried first and known by their sha256."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data import fingerprint, tokenize
from ..errors import InputError
from ..hashes import describe_files
from ..output import replace_text
from ..serialization import read_json, to_json
from ..tasks.task import Task
from .base_models import BaseModel
from .specs import CellSpec, CleanSpec, identify
from .workshop import Workshop


INPUTS_FILE = "inputs.json"
# The part of a task's texts that came last.
_UNLABELED = "rest"


def try_inputs(workshop: Workshop, cells: Sequence[CellSpec]) -> None:
    """
    Reads all texts and finds all weights once, so that what is missing shows before any work is done.

    Raises:
        InputError: If some are missing, cannot be read, or are too few.
    """
    for clean in _clean(cells):
        tokenizer = workshop.tokenizer(clean.model)
        splits = workshop.splits(clean.task)
        try:
            tokenize(splits.validation.select([0]), tokenizer, min(clean.task.max_length, tokenizer.model_max_length))
        except InputError as error:
            raise InputError(f"Task {clean.task.name!r}: {error}") from None
        largest = max((cell.clean_examples for cell in cells if cell.suspect.clean == clean), default=0)
        if largest > len(splits.pool):
            raise InputError(
                f"`clean_examples` holds {largest}, but the pool of task {clean.task.name!r} has {len(splits.pool)}."
            )
    for task in _tasks(cells):
        workshop.splits(task)


def settle_inputs(folder: Path, output: str | Path, workshop: Workshop, cells: Sequence[CellSpec]) -> None:
    """
    Compares texts and weights with those of the results that a folder already has, and notes down new ones.

    Args:
        folder (`Path`): The folder.
        output (`str` or `Path`): The same as the user gave it, for messages.
        workshop ([`Workshop`]): Reads them.
        cells (`Sequence[CellSpec]`): What is to be run.

    Raises:
        InputError: If one is not what it was.
    """
    path = folder / INPUTS_FILE
    known: dict[str, dict[str, str]] = read_json(path, dict) if path.is_file() else {}
    found = dict(known)
    inputs: list[tuple[str, str, dict[str, str]]] = []
    for task in _tasks(cells):
        inputs.append((f"texts of task {task.name!r}", identify(task), _describe_texts(workshop, task)))
    for name, base in {identify(clean.model): clean.model for clean in _clean(cells)}.items():
        inputs.append((f"files of model {base.name!r}", name, _describe_model(workshop, base)))
    for what, name, parts in inputs:
        for part, digest in parts.items():
            # Results from before there were unlabelled texts know nothing of them, and used none.
            earlier = known.get(name, parts).get(part, digest if part == _UNLABELED else None)
            if earlier != digest:
                raise InputError(
                    f"The {what} are not those of the results in {str(output)!r} ({part} differs); name a new folder."
                )
        found[name] = parts
    if found != known:
        replace_text(path, to_json(found))


def _clean(cells: Sequence[CellSpec]) -> list[CleanSpec]:
    return list({spec.id: spec for cell in cells for spec in (cell.suspect.clean, *cell.others)}.values())


def _tasks(cells: Sequence[CellSpec]) -> list[Task]:
    others = [cell.suspect.other for cell in cells if cell.suspect.other is not None]
    return list({identify(task): task for task in [clean.task for clean in _clean(cells)] + others}.values())


def _describe_texts(workshop: Workshop, task: Task) -> dict[str, str]:
    splits: dict[str, Any] = vars(workshop.splits(task))
    return {name: fingerprint(part) for name, part in splits.items()}


def _describe_model(workshop: Workshop, base: BaseModel) -> dict[str, str]:
    checkpoint = workshop.checkpoint(base)
    names = [file.relative_to(checkpoint.folder).as_posix() for file in checkpoint.files]
    return {file.name: file.sha256 for file in describe_files(checkpoint.folder, names)}
