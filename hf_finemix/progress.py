"""Progress of long work: a bar on a terminal, a call for each step to whoever listens, nothing in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Step:
    """
    How far one piece of work is.

    Args:
        name (`str`): What is being done, such as `"fine-tuning"`.
        done (`int`): Units that are done: examples, steps, bytes.
        total (`int`): Units in all.
    """

    name: str
    done: int
    total: int


Listener = Callable[[Step], None]

# Of rich; the last is the one that is drawn.
_displays: list[Any] = []
_listener: ContextVar[Listener | None] = ContextVar("hf_finemix_progress", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """
    Passes each step of the work in this block to a function, whether or not a bar is shown.

    Args:
        listener (`Callable[[Step], None]`): Called in the thread that works, often. What it raises ends the work.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Bar:
    """
    A progress bar on standard error, to be used in a `with` block.

    Args:
        total (`int`): Units in all.
        name (`str`): What is being done.
        show (`bool`): Whether to draw it; listeners hear of it anyway.
        leave (`bool`, *optional*, defaults to `True`): Whether it stays where it was drawn when it is done.
        is_bytes (`bool`, *optional*, defaults to `False`): Whether the units are bytes.
    """

    def __init__(self, total: int, name: str, show: bool, *, leave: bool = True, is_bytes: bool = False):
        self.total, self.name, self.done = total, name, 0
        self._listener = _listener.get()
        self._open = ExitStack()
        self._draw: Callable[[int], object] | None = None
        self._show = (show, leave, is_bytes)

    def __enter__(self) -> Self:
        show, leave, is_bytes = self._show
        if show:
            draw = _on_terminal if sys.stderr.isatty() else _elsewhere
            self._draw = self._open.enter_context(draw(self.total, self.name, leave, is_bytes))
        try:
            self._tell()
        except BaseException:
            # A listener ends the work; nobody leaves the block then.
            self._open.close()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def update(self, units: int = 1) -> None:
        """Notes that more units are done."""
        self.done += units
        if self._draw is not None:
            self._draw(self.done)
        self._tell()

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(Step(self.name, self.done, self.total))


@contextmanager
def _on_terminal(total: int, name: str, leave: bool, is_bytes: bool) -> Iterator[Callable[[int], object]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    if _displays:
        # A terminal has room for one display: a bar inside of another is drawn below it, and goes when it is done.
        outer = _displays[-1]
        task = outer.add_task(name, total=total)
        try:
            yield lambda done: outer.update(task, completed=done)
        finally:
            outer.remove_task(task)
        return
    count = DownloadColumn() if is_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description:<16}", markup=False), BarColumn(), count, TimeElapsedColumn())
    # What is printed meanwhile stands above the bar, unless it goes somewhere else.
    options = {"transient": not leave, "redirect_stdout": sys.stdout.isatty()}
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), **options) as drawn:
        _displays.append(drawn)
        try:
            task = drawn.add_task(name, total=total)
            yield lambda done: drawn.update(task, completed=done)
        finally:
            _displays.pop()


@contextmanager
def _elsewhere(total: int, name: str, leave: bool, is_bytes: bool) -> Iterator[Callable[[int], object]]:
    # In a notebook, or where a script asks for a bar and has no terminal.
    from tqdm.auto import tqdm

    unit = {"unit": "B", "unit_scale": True, "unit_divisor": 1000} if is_bytes else {}
    with tqdm(total=total, desc=name, leave=leave, dynamic_ncols=True, **unit) as drawn:
        yield lambda done: drawn.update(done - drawn.n)
