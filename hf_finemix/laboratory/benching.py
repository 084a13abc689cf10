"""`bench()`: runs attacks against defences, resumes where it was stopped, and keeps every result in a file."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from ..errors import InputError
from ..output import check_output, replace_text, staged_folder
from ..progress import Bar
from ..serialization import to_json
from .bench_config import read_bench_config
from .executors import InProcess, Job, JobExecutor, Lost
from .grids import BenchConfig
from .inputs import settle_inputs, try_inputs
from .jobs import give_up, make_clean_model, make_suspect, open_workshop, run_cell
from .records import CellRecord, SuspectRecord
from .results import CELLS, CONFIG_FILE, MODELS, SUSPECTS, Results, read_config, read_records
from .specs import CellSpec, CleanSpec, SuspectSpec


_LOCK = ".lock"
_R = TypeVar("_R", SuspectRecord, CellRecord)
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
    suspects = list(dict.fromkeys(cell.suspect.id for cell in cells))
    content = {SUSPECTS: suspects, CELLS: [cell.id for cell in cells], **config.to_dict()}
    # What an earlier bench of this process holds in memory need not be what lies in the folder now.
    open_workshop.cache_clear()
    try:
        _make_folder(folder, output, content, cells)
        with FileLock(folder / _LOCK, timeout=0):
            _settle_config(folder, output, content, cells, extend)
            _clear_unfinished(folder)
            try:
                _run(folder, output, cells, executor or InProcess(), progress, say)
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
    try_inputs(open_workshop(folder), cells)
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
    try_inputs(open_workshop(folder), cells)
    # First, or a refusal would leave a folder whose configuration is not that of its cells.
    settle_inputs(folder, output, open_workshop(folder), cells)
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


def _run(
    folder: Path,
    output: str | Path,
    cells: Sequence[CellSpec],
    executor: JobExecutor,
    progress: bool,
    say: Callable[[str], None],
) -> None:
    for name, jobs in _plan(folder, output, cells).items():
        if not jobs:
            continue
        say(f"{len(jobs)} {name}")
        with Bar(len(jobs), name, progress) as bar:
            for result in executor.run(jobs):
                record = give_up(result.job) if isinstance(result, Lost) else result
                bar.update()
                if getattr(record, "error", None):
                    say(f"failed: {record.task}, {record.attack}: {record.error}")


def _plan(folder: Path, output: str | Path, cells: Sequence[CellSpec]) -> dict[str, list[Job]]:
    """Returns the jobs that are left, in two stages: no cell starts without its suspect, nor tries to make one."""
    workshop = open_workshop(folder)
    made = _successes(folder / SUSPECTS, SuspectRecord)
    done = _successes(folder / CELLS, CellRecord)

    def is_measured(spec: SuspectSpec) -> bool:
        return spec.id in made and set(spec.rank_by) <= set(made[spec.id].rank_by)

    left = [cell for cell in cells if cell.id not in done]
    # A folder may have been copied without its models: those of cells that are done are not needed.
    wanted = [cell for cell in cells if cell.id not in done or not is_measured(cell.suspect)]
    settle_inputs(folder, output, workshop, wanted)
    suspects = {cell.suspect.id: cell.suspect for cell in wanted}
    clean: dict[str, CleanSpec] = {spec.clean.id: spec.clean for spec in suspects.values()}
    clean |= {other.id: other for cell in left for other in cell.others}
    models: list[Job] = [(make_clean_model, (folder, spec)) for spec in clean.values() if not workshop.has(spec)]
    for name, spec in suspects.items():
        if is_measured(spec) and workshop.has(spec):
            continue
        # Ranks by other counts, which an earlier configuration asked for, stay.
        earlier = made[name].rank_by if name in made else ()
        models.append((make_suspect, (folder, replace(spec, rank_by=tuple(dict.fromkeys((*earlier, *spec.rank_by)))))))
    return {"models": models, "cells": [(run_cell, (folder, cell)) for cell in left]}


def _successes(folder: Path, kind: type[_R]) -> dict[str, _R]:
    return {name: record for name, record in read_records(folder, kind).items() if record.error is None}
