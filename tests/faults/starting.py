"""Commands in processes of their own, with the faults that are to happen in them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """What a command left: exit status, or minus the signal that ended it, what it printed, and its moments."""

    status: int
    out: str
    err: str
    moments: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """A command that was started."""

    starter: "Starter"
    pid: int
    desk: Path

    def wait(self) -> "Done | None":
        """Waits for the end; `None` if it was stopped (SIGSTOP) instead."""
        status = self.starter.ask({"wait": self.pid})
        if status == "stopped":
            return None
        out, err = ((self.desk / name).read_text(errors="replace") for name in ("out", "err"))
        events = self.desk / "events"
        moments = events.read_text().splitlines() if events.exists() else ()
        return Done(status, out, err, tuple(moments))

    def go_on(self) -> "Done | None":
        """Lets a stopped command go on, and waits for its end."""
        os.kill(self.pid, signal.SIGCONT)
        return self.wait()


@dataclass
class Starter:
    """
    Starts commands.

    Args:
        folder (`Path`): For what they print.
        variables (`dict[str, str]`): Their environment, on top of this process's.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.starter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **self.variables},
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.communicate()

    def ask(self, order: dict[str, Any]) -> Any:
        """Sends an order and gives the answer."""
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self,
        arguments: Iterable[object],
        *,
        folder: Path,
        scratch: Path | None = None,
        watched: Iterable[Path] = (),
        signals: Mapping[int, int] | None = None,
        out: Path | None = None,
        memory: int | None = None,
        file_size: int | None = None,
        humble: bool = False,
        code: str = "",
    ) -> Running:
        """
        Starts a command.

        Args:
            arguments (`Iterable`): Its command line, from its name on.
            folder (`Path`): Where it runs.
            scratch (`Path`, *optional*): Its TMPDIR.
            watched (`Iterable[Path]`, *optional*): Folders; what is done in them are its moments.
            signals (`Mapping[int, int]`, *optional*): By the number of the moment, from 1, the signal that it gets.
            out (`Path`, *optional*): Where its standard output goes.
            memory (`int`, *optional*): Bytes of address space that it may take on top of its imports.
            file_size (`int`, *optional*): Bytes of the largest file that it may write.
            humble (`bool`, *optional*): Whether the rights of files hold for it, even if it is root's.
            code (`str`, *optional*): Python that it runs first.
        """
        self.count += 1
        desk = self.folder / str(self.count)
        desk.mkdir()
        order = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder),
            "variables": {} if scratch is None else {"TMPDIR": str(scratch)},
            "watched": [str(path) for path in watched],
            "signals": {str(moment): int(number) for moment, number in (signals or {}).items()},
            "out": str(out or desk / "out"),
            "err": str(desk / "err"),
            "events": str(desk / "events"),
            "memory": memory,
            "file_size": file_size,
            "humble": humble,
            "code": code,
        }
        if out is not None:
            (desk / "out").touch()
        return Running(self, self.ask(order), desk)

    def run(self, arguments: Iterable[object], **options: Any) -> Done:
        """Starts a command and waits for its end."""
        return self.start(arguments, **options).wait()
