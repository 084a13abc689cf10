"""Faults that a test orders in advance, taken in order by the requests they match."""

import re
from dataclasses import dataclass, field
from threading import Lock


@dataclass
class Fault:
    """What goes wrong with the next `times` requests that match; a cut connection if there is no status."""

    method: str
    path: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int | None = None
    after_handling: bool = False
    reset: bool = False


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def add(self, fault: Fault) -> None:
        """Orders a fault."""
        with self._lock:
            self._faults.append(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """Gives the first fault that matches a request and counts it as used."""
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None
