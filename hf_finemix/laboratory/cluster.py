"""The jobs of a bench on the machines of a Ray cluster, which all see the folder of the results."""

import os
import re
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from ..config import check_integer
from ..errors import InputError
from .executors import Job, Lost


# Seconds that a cluster has to answer.
_PATIENCE = 10.0


class RayCluster:
    """
    Runs jobs as tasks of Ray (`pip install hf-finemix[ray]`), one for each cell, each with its cores and GPUs.

    Ray finds a place for each task, and starts it again elsewhere if its process or machine is lost. What a job makes
    is in its files: the folder of the results has to be the same on all machines, under the same path.

    Args:
        address (`str`, *optional*):
            A cluster, as Ray names it (`"auto"`, `"ray://host:10001"`); by default the one that `RAY_ADDRESS` names,
            and without it one of this machine alone, for as long as the jobs run.
        cpus (`int`, *optional*, defaults to 1): Cores of a job.
        gpus (`float`, *optional*, defaults to 0): GPUs of a job; may be a share of one.
        retries (`int`, *optional*, defaults to 2): How often a lost job is started again.

    Raises:
        InputError: If a number is out of range, or Ray is not installed.
    """

    def __init__(self, address: str | None = None, cpus: int = 1, gpus: float = 0.0, retries: int = 2):
        check_integer("cpus", cpus, 1)
        check_integer("retries", retries, 0)
        if isinstance(gpus, bool) or not isinstance(gpus, (int, float)) or not 0 <= gpus < 1024:
            raise InputError(f"`gpus` is {gpus!r}, but must be a number from 0.")
        self.address, self.cpus, self.gpus, self.retries = address, cpus, gpus, retries
        _import_ray()

    def run(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """
        Runs all jobs and yields what each returned, as they end; of one that is lost for good, a [`Lost`].

        Raises:
            InputError: If the cluster cannot be reached, or has no machine with what a job needs.
        """
        ray = _import_ray()
        joined = not ray.is_initialized()
        if joined:
            self._join(ray)
        running: dict[Any, Job] = {}
        try:
            self._check_room(ray)
            options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": self.retries}
            task = ray.remote(**options)(_work)
            for job in jobs:
                running[task.remote(job, self.cpus)] = job
            while running:
                (reference,), _ = ray.wait(list(running), num_returns=1)
                job = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    # What the job itself raised, which ends the run as it does elsewhere.
                    raise error.cause from None
                except ray.exceptions.RayError:
                    yield Lost(job)
                else:
                    yield result
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            if joined:
                ray.shutdown()

    def _join(self, ray: Any) -> None:
        address = self.address or os.environ.get("RAY_ADDRESS")
        _check_answers(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = f"the cluster {address!r}" if address else "a cluster of this machine"
            raise InputError(f"Ray cannot reach {where}: {' '.join(str(error).split())[:200]}") from None

    def _check_room(self, ray: Any) -> None:
        # A task that no machine has room for waits for ever.
        found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= self.cpus and node.get("GPU", 0) >= self.gpus for node in found):
            raise InputError(
                f"No machine of the cluster has {self.cpus} cores and {self.gpus:g} GPUs for a job; ask for fewer."
            )


def _check_answers(address: str | None) -> None:
    """Refuses an address where nobody answers, for which Ray itself would wait many minutes."""
    match = re.fullmatch(r"(?:ray://)?(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d{1,5})", address or "")
    if match is None:
        return
    try:
        with socket.create_connection((match["host"].strip("[]"), int(match["port"])), timeout=_PATIENCE):
            pass
    except (OSError, OverflowError) as error:
        raise InputError(f"Ray cannot reach the cluster {address!r}: {error}") from None


def _import_ray() -> Any:
    # It sends figures on its use to its makers, unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed; run `pip install hf-finemix[ray]`.") from None
    return ray


def _work(job: Job, cpus: int) -> Any:
    torch.set_num_threads(cpus)
    function, arguments = job
    return function(*arguments)
