"""`bench()`: runs attacks against defences, resumes where it was stopped, and keeps every result in a file."""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from ..data import tokenize
from ..errors import InputError
from ..output import check_output, replace_text, staged_folder
from ..serialization import read_json, to_json
from .bench_config import BenchConfig, read_bench_config
from .executors import InProcess, Job, JobExecutor
from .jobs import make_clean_model, make_suspect, open_workshop, run_cell
from .records import CellRecord, SuspectRecord
from .results import CELLS, CONFIG_FILE, MODELS, SUSPECTS, Results, read_config
from .specs import CellSpec, CleanSpec, SuspectSpec


CONFIG_VERSION = 1
_LOCK = ".lock"
# As `output` names what it has not finished.
_UNFINISHED = re.compile(r"\.finemix-[a-z0-9_]{8}")


def bench(
    config: str | Path | dict[str, Any] | BenchConfig,
    output: str | Path,
    *,
    executor: JobExecutor | None = None,
    extend: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Results:
    """
    Runs every cell of a configuration: each attack against each defence, on each task, with each seed.

    Each result is one JSON file. A run that was stopped at any moment goes on when it is started again, and cells that
    failed are tried again. One clean model is made for each task, model and seed, and one suspect for each attack on
    it; both stay in the folder.

    Args:
        config (`str`, `Path`, `dict` or [`BenchConfig`]): YAML file, its content, or what was read from it.
        output (`str` or `Path`): The folder: new, or that of an earlier run of the same configuration.
        executor (`JobExecutor`, *optional*): Who runs the jobs; by default this process, one after the other.
        extend (`bool`, *optional*, defaults to `False`):
            Take a folder of another configuration and keep its cells, also those that are not asked for.
        progress (`bool`, *optional*, defaults to `False`): Show a progress bar with the time left on standard error.
        say (`Callable`, *optional*): Receives a line at each step.

    Returns:
        [`Results`]: All suspects and cells of the folder; those that failed carry the reason.

    Raises:
        InputError: If configuration or folder cannot be used, or another bench is at work in the folder.
    """
    if not isinstance(config, BenchConfig):
        config = read_bench_config(config)
    cells = config.cells()
    folder = Path(output).expanduser().resolve()
    content = {"version": CONFIG_VERSION, "cells": len(cells), **config.to_dict()}
    # What an earlier bench of this process holds in memory need not be what lies in the folder now.
    open_workshop.cache_clear()
    try:
        _make_folder(folder, output, content, cells)
        with FileLock(folder / _LOCK, timeout=0):
            _settle_config(folder, output, content, cells, extend)
            _clear_unfinished(folder)
            try:
                _run(folder, cells, executor or InProcess(), progress, say)
            finally:
                # Of worker processes that were stopped.
                _clear_unfinished(folder)
    except Timeout:
        raise InputError(f"--output {str(output)!r} is in use by another bench; wait for it, or stop it.") from None
    finally:
        open_workshop.cache_clear()
    return Results.load(folder)


def _make_folder(folder: Path, output: str | Path, content: dict[str, Any], cells: Sequence[CellSpec]) -> None:
    """Makes a new folder with the configuration in it, whole or not at all."""
    if (folder / CONFIG_FILE).is_file():
        return
    check_output(output)
    _try_inputs(folder, cells)
    with staged_folder(folder) as staging:
        replace_text(staging / CONFIG_FILE, to_json(content))


def _settle_config(
    folder: Path, output: str | Path, content: dict[str, Any], cells: Sequence[CellSpec], extend: bool
) -> None:
    """Compares the configuration of a folder with the one that is to be run; only whoever has the lock may."""
    path = folder / CONFIG_FILE
    read_config(folder)
    if path.read_text(encoding="utf-8") == to_json(content):
        return
    if not extend:
        raise InputError(
            f"--output {str(output)!r} holds the results of another configuration; name a new folder, or add "
            "--extend to keep its cells and to add these."
        )
    _try_inputs(folder, cells)
    replace_text(path, to_json(content))


def _clear_unfinished(folder: Path) -> None:
    """Removes what a killed bench was about to write."""
    for part in (folder, folder / MODELS, folder / SUSPECTS, folder / CELLS):
        for path in part.iterdir() if part.is_dir() else ():
            if not _UNFINISHED.fullmatch(path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _try_inputs(folder: Path, cells: Sequence[CellSpec]) -> None:
    """Reads all texts and finds all weights once, so that what is missing shows before any work is done."""
    workshop = open_workshop(folder)
    for clean in {spec.id: spec for cell in cells for spec in (cell.suspect.clean, *cell.others)}.values():
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
    for cell in cells:
        if cell.suspect.other is not None:
            workshop.splits(cell.suspect.other)


def _run(
    folder: Path, cells: Sequence[CellSpec], executor: JobExecutor, progress: bool, say: Callable[[str], None]
) -> None:
    workshop, finished = open_workshop(folder), _finished(folder)
    left = [cell for cell in cells if cell.id not in finished]
    # A folder may have been copied without its models: those of cells that are done are not needed.
    wanted = [cell.suspect for cell in cells if cell.id not in finished or cell.suspect.id not in finished]
    suspects = {spec.id: spec for spec in wanted}.values()
    clean: dict[str, CleanSpec] = {spec.clean.id: spec.clean for spec in suspects}
    clean |= {other.id: other for cell in left for other in cell.others}

    def is_done(spec: SuspectSpec) -> bool:
        return spec.id in finished and workshop.has(spec)

    models: list[Job] = [(make_clean_model, (folder, spec)) for spec in clean.values() if not workshop.has(spec)]
    models += [(make_suspect, (folder, spec)) for spec in suspects if not is_done(spec)]
    # Apart, so that no cell starts without its suspect, nor tries in vain to make one that failed.
    stages = [("models", models), ("cells", [(run_cell, (folder, cell)) for cell in left])]
    for name, jobs in stages:
        if not jobs:
            continue
        say(f"{len(jobs)} {name}")
        with tqdm(total=len(jobs), desc=name, disable=not progress, dynamic_ncols=True) as bar:
            for record in executor.run(jobs):
                bar.update()
                if getattr(record, "error", None):
                    say(f"failed: {record.task}, {record.attack}: {record.error}")


def _finished(folder: Path) -> set[str]:
    """Returns the ids of the suspects and cells that have a result, and no failure, on disk."""
    return {
        path.stem
        for kind, record in ((SUSPECTS, SuspectRecord), (CELLS, CellRecord))
        for path in (folder / kind).glob("*.json")
        if read_json(path, record.from_dict).error is None
    }
