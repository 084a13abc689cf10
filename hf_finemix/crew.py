"""Several processes that make one output together, started by torchrun or accelerate: what they tell each other."""

import json
import os
import threading
import time
from typing import Any

from .errors import InputError, reason


# Seconds between two looks, and after which a process that says nothing counts as lost.
_TICK, _PATIENCE = 0.1, 60.0
_FAREWELL = 5.0
_calls = 0


class PeerError(RuntimeError):
    """Another process failed, and says so itself."""


class Crew:
    """
    The processes of one job; by itself, a process is a crew of one.

    What they share is text in the store of torch.distributed, which a launcher names by environment variables; no
    process group is needed.

    Attributes:
        rank (`int`): Number of this process.
        ranks (`int`): Number of all.
        local_ranks (`int`): Number of those on this machine.
    """

    def __init__(self):
        self.rank, self.ranks, self.local_ranks = 0, 1, 1
        self._store: Any = None

    @classmethod
    def from_environment(cls) -> "Crew":
        """
        Joins the processes that a launcher started.

        Raises:
            InputError: If the environment names several processes, but no place to meet.
        """
        crew = cls()
        try:
            ranks, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        except ValueError:
            raise InputError("RANK and WORLD_SIZE in the environment are no numbers; unset them.") from None
        if ranks > 1:
            crew._join(rank, ranks)
        return crew

    def _join(self, rank: int, ranks: int) -> None:
        import torch.distributed as dist

        global _calls
        _calls += 1
        try:
            if dist.is_initialized():
                store = dist.distributed_c10d._get_default_store()
            else:
                store, rank, ranks = next(dist.rendezvous("env://", rank, ranks))
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"WORLD_SIZE is {ranks}, but the processes do not meet ({reason(error, 100)}); start them with "
                "torchrun or `accelerate launch`, or unset WORLD_SIZE."
            ) from None
        self.rank, self.ranks = rank, ranks
        self.local_ranks = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", ranks)))
        self._store = dist.PrefixStore(f"finemix-mix-{_calls}", store)
        self._done = threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def gather(self, topic: str, value: Any) -> list[Any]:
        """
        Tells all processes something, and waits for what each of them has to tell.

        Args:
            topic (`str`): What it is about; once in a job.
            value: Anything that JSON can hold.

        Returns:
            `list`: What each process told, by number.

        Raises:
            PeerError: If another process failed.
            RuntimeError: If another process is lost.
        """
        if self._store is None:
            return [value]
        try:
            self._store.set(f"{topic}/{self.rank}", json.dumps(value))
            return [json.loads(self._get(f"{topic}/{rank}", rank)) for rank in range(self.ranks)]
        except PeerError:
            raise
        except RuntimeError as error:
            self.fail(error)
            raise RuntimeError(f"another process of the job is lost ({reason(error, 80)})") from None

    def fail(self, error: BaseException) -> None:
        """Tells the other processes that this one failed."""
        if self._store is None or isinstance(error, PeerError):
            return
        try:
            self._store.set("failed", str(self.rank))
        except RuntimeError:
            # The process that holds the store is gone, and with it the job.
            return

    def close(self) -> None:
        """Ends the crew; the process that may hold the store stays until the others need it no more."""
        if self._store is None:
            return
        try:
            self._store.set(f"bye/{self.rank}", "")
            keys = [f"bye/{rank}" for rank in range(self.ranks)]
            end = time.monotonic() + _FAREWELL
            while self.rank == 0 and not self._store.check(keys) and time.monotonic() < end:
                time.sleep(_TICK)
        except RuntimeError:
            pass
        self._done.set()

    def _get(self, key: str, rank: int) -> bytes:
        beats, since = -1, time.monotonic()
        while not self._store.check([key]):
            if self._store.check(["failed"]):
                raise PeerError(f"process {self._store.get('failed').decode()} failed")
            found = self._store.add(f"alive/{rank}", 0)
            if found != beats:
                beats, since = found, time.monotonic()
            if time.monotonic() - since > _PATIENCE:
                raise RuntimeError(f"process {rank} has said nothing for {_PATIENCE:.0f} seconds")
            time.sleep(_TICK)
        return self._store.get(key)

    def _beat(self) -> None:
        while not self._done.wait(1.0):
            try:
                self._store.add(f"alive/{self.rank}", 1)
            except RuntimeError:
                return
