"""One piece of work in a thread of its own, that says how far it is and can be ended."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ..errors import InputError
from ..progress import Step, listening


_T = TypeVar("_T")


class Cancelled(BaseException):
    """Ends the work from within; no handler of errors on the way takes it for one."""


def forget_frames(error: BaseException) -> BaseException:
    """Makes an error, and those that led to it, let go of the calls that they came through, and what those hold."""
    chain, seen = [error], set()
    while chain:
        one = chain.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    return error


class Work(Generic[_T]):
    """
    A piece of work, started at once.

    Args:
        task (`Callable[[Callable[[str], None]], T]`):
            What to do. It is given a function that it calls with the name of what it begins with.
        limit (`float`, *optional*): Seconds after which it is ended.
    """

    def __init__(self, task: Callable[[Callable[[str], None]], _T], limit: float | None = None):
        self.latest = Step("starting", 0, 0)
        self.started = time.monotonic()
        self._task: Callable[[Callable[[str], None]], _T] | None = task
        self._limit = limit
        self._cancelled, self._done = threading.Event(), threading.Event()
        self._result: _T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="finemix-work", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return not self._done.is_set()

    @property
    def seconds(self) -> float:
        """How long it has gone on."""
        return time.monotonic() - self.started

    def cancel(self) -> None:
        """Ends it at its next step."""
        self._cancelled.set()

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the end; tells whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def steps(self, every: float = 0.5) -> Iterator[Step]:
        """
        Yields how far it is, until it ends. It is ended itself if nobody asks any more.

        Args:
            every (`float`, *optional*, defaults to 0.5): Seconds between two answers.
        """
        try:
            yield self.latest
            while not self._done.wait(every):
                yield self.latest
        finally:
            self.cancel()

    def result(self) -> _T:
        """
        Waits for the end and returns what came of it.

        Raises:
            Cancelled: If it was ended. Otherwise what the task raised.
        """
        self._done.wait()
        self.join()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            with listening(self._listen):
                self._result = self._task(self._begin)
        except BaseException as error:  # it is raised again by whoever waits for the result
            self._error = forget_frames(error)
        finally:
            # What it was given may be a secret, and this object is kept.
            self._task = None
            self._done.set()

    def _begin(self, name: str) -> None:
        self._listen(Step(name, 0, 0))

    def _listen(self, step: Step) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        if self._limit is not None and self.seconds > self._limit:
            raise InputError(
                f"This took longer than the {self._limit / 60:.0f} minutes of this app; give it less to do."
            )
        self.latest = step
