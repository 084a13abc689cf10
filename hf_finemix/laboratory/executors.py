"""Who runs the jobs of a bench: this process, or several of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ..config import check_integer


Job = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Lost:
    """
    A job whose process was killed, even when it ran alone.

    Args:
        job (`Job`): The job.
    """

    job: Job


class JobExecutor(Protocol):
    """
    Runs jobs in about the given order; one may wait for what another is making, but never needs to.

    A job is a function of a module and its arguments, all of which can be pickled. It keeps its result itself, in a
    file of its own, and may be run again after it was lost.
    """

    def run(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """Runs all jobs and yields what each returned, as they end; of one that cannot be run, a [`Lost`]."""


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
        """
        Runs all jobs and yields what each returned, as they end; the first exception ends the run.

        When a worker is killed, most often because memory ran out, the jobs at work are run again one by one. One that
        ends its process even so is given up: it comes back as [`Lost`].

        Raises:
            RuntimeError: If workers cannot be started.
        """
        jobs = iter(jobs)
        while broken := (yield from self._run(jobs, self.workers)):
            for job in broken:
                if (yield from self._run(iter([job]), 1)):
                    yield Lost(job)

    def _run(self, jobs: Iterator[Job], workers: int) -> Generator[Any, None, list[Job]]:
        """Runs jobs in new processes until there are no more or one was killed; returns those that were at work."""
        # The share of the cores is always the same, and with it the order in which sums are made.
        threads = max(1, _cores() // self.workers)
        others = set(multiprocessing.active_children())
        # Forked processes would inherit the locks of torch's threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_prepare, initargs=(threads,)) as pool:
            try:
                _try(pool)
                return (yield from _as_completed(pool, jobs, workers))
            except BaseException:
                # Leaving the block waits for the jobs at work, which may take many minutes.
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                raise


def _try(pool: Executor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        raise RuntimeError(
            "Worker processes cannot be started: a script that calls `bench` needs `if __name__ == '__main__':`, and "
            "each process needs memory of its own."
        ) from None


def _as_completed(pool: Executor, jobs: Iterator[Job], workers: int) -> Generator[Any, None, list[Job]]:
    running: dict[Future, Job] = {}
    broken: list[Job] = []
    while True:
        # As many as there are workers: neighbours, which share a suspect, go to whoever is free, and nothing is queued
        # that would have to be taken back.
        while not broken and len(running) < workers and (job := next(jobs, None)) is not None:
            try:
                running[pool.submit(job[0], *job[1])] = job
            except BrokenProcessPool:
                broken.append(job)
        if not running:
            return broken
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                broken.append(job)
            else:
                yield result


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
