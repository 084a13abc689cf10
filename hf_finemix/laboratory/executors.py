"""Who runs the jobs of a bench: this process, or several of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

import torch

from ..config import check_integer


Job = tuple[Callable[..., Any], tuple[Any, ...]]


class JobExecutor(Protocol):
    """
    Runs jobs in about the given order; one may wait for what another is making, but never needs to.

    A job is a function of a module and its arguments, all of which can be pickled. It keeps its result itself, in a
    file of its own, and may be run again after it was lost.
    """

    def run(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """Runs all jobs and yields what each returned, as they end."""


class InProcess:
    """Runs one job after the other in this process."""

    def run(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """Runs all jobs and yields what each returned."""
        for function, arguments in jobs:
            yield function(*arguments)


class Processes:
    """
    Runs jobs in several processes, each with its share of the cores.

    Args:
        workers (`int`): Number of processes, at least 1.

    Raises:
        InputError: If `workers` is less than 1.
    """

    def __init__(self, workers: int):
        check_integer("workers", workers, 1)
        self.workers = workers

    def run(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """Runs all jobs and yields what each returned, as they end; the first exception ends the run."""
        threads = max(1, _cores() // self.workers)
        others = set(multiprocessing.active_children())
        # Forked processes would inherit the locks of torch's threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, context, initializer=_prepare, initargs=(threads,)) as pool:
            try:
                yield from _as_completed(pool, iter(jobs), self.workers)
            except BaseException as error:
                # Leaving the block waits for the jobs at work, which may take many minutes.
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                if isinstance(error, BrokenProcessPool):
                    raise RuntimeError(
                        "A worker process ended: it was killed (out of memory?), or could not start (a script that "
                        "calls `bench` needs `if __name__ == '__main__':`). Start again to go on."
                    ) from None
                raise


def _as_completed(pool: Executor, jobs: Iterator[Job], workers: int) -> Iterator[Any]:
    # As many as there are workers: neighbours, which share a suspect, go to whoever is free, and nothing is queued
    # that would have to be taken back.
    running = set()
    while True:
        for function, arguments in jobs:
            running.add(pool.submit(function, *arguments))
            if len(running) == workers:
                break
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


def _cores() -> int:
    # Only Linux knows which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; the one that was started says what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A worker holds both ends of its queue: it would wait for jobs for ever after its parent was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
