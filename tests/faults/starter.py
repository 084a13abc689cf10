"""
Runs commands in processes of their own that need not import anything, and lets faults happen in them.

This process imports what the commands import, once. For each order, a line of JSON on its standard input, it makes a
copy of itself (fork), which is a process like any other: with its own signals, limits and files.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

from hf_finemix.cli.main import COMMANDS, _be_quiet


# What the commands import when they run.
MODULES = (
    *("adapter_extraction", "adapter_models", "demo.run", "job", "laboratory.benching", "laboratory.reporting"),
    *("mix_evidence", "mix_run", "pipeline", "publishing", "sarif", "scanning", "verifying"),
)
OTHERS = ("matplotlib.backends.backend_agg", "matplotlib.figure", "torch.profiler", "transformers.models.bert")
CLASSES = ("AutoModelForSequenceClassification", "AutoTokenizer", "BertForSequenceClassification", "Trainer")
# Seconds of processor time after which a command counts as one that hangs.
LONGEST = 120


def main() -> None:
    """Takes orders until its standard input ends."""
    sys.argv = ["hf-finemix"]
    # What the command line says to the libraries before it imports them.
    _be_quiet(debug=False)
    for name in (*(f"hf_finemix.{name}" for name in (*MODULES, *(f"cli.{name}" for name in COMMANDS))), *OTHERS):
        importlib.import_module(name)
    transformers = importlib.import_module("transformers")
    for name in CLASSES:
        getattr(transformers, name)
    gc.collect()
    gc.freeze()
    # Of the pipe, which copies share, nothing may be read ahead.
    for line in iter(lambda: _read_line(0), b""):
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], os.WUNTRACED)
            answer = "stopped" if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        elif (answer := os.fork()) == 0:
            _end(_run(order))
        os.write(_ANSWERS, json.dumps(answer).encode() + b"\n")


def _read_line(handle: int) -> bytes:
    line = b""
    while (byte := os.read(handle, 1)) not in (b"", b"\n"):
        line += byte
    return line


def _run(order: dict[str, Any]) -> int:
    """Is the new process: gives itself its faults, and then does what `hf-finemix` does."""
    from hf_finemix.cli.main import main

    for handle, path in ((1, order["out"]), (2, order["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), handle)
    os.close(_ANSWERS)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["variables"])
    # Whatever an import found out. Python tries the folder with a file, which is none of the command's.
    tempfile.tempdir = None
    tempfile.gettempdir()
    os.chdir(order["folder"])
    sys.argv[1:] = order["arguments"]
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    if order["humble"]:
        _become_humble()
    exec(order["code"], {})
    if order["watched"]:
        sys.addaudithook(Watch(order["watched"], order["events"], order["signals"]))
    if order["memory"] is not None:
        limit = _taken() + order["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if order["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], order["file_size"]))
    try:
        return main()
    except SystemExit as stop:
        return stop.code
    except BaseException:
        traceback.print_exc()
        return 1


def _end(status: int) -> NoReturn:
    """Ends the process as `sys.exit` does, but for taking Python apart, which takes a second of these copies."""
    with contextlib.suppress(OSError):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _become_humble() -> None:
    """Gives up what lets root read and write whatever the rights of a file say."""
    version, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(version, sets):
        raise OSError(ctypes.get_errno(), "capset")


def _taken() -> int:
    """Bytes of address space that this process has taken."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmSize:")[1].split()[0]) << 10


class Watch:
    """
    Counts what Python is about to do to files in some folders, and sends this process a signal at a given moment.

    Args:
        folders (`list[str]`): The folders.
        events (`str`): File that gets a line for each moment, as far as the process comes.
        signals (`dict[str, int]`): By the number of the moment, the signal that comes just before it.
    """

    kinds = ("open", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree")

    def __init__(self, folders: list[str], events: str, signals: dict[str, int]):
        self.folders = tuple(f"{folder}{os.sep}" for folder in folders)
        self.events = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.signals = signals
        self.count = 0

    def __call__(self, kind: str, arguments: tuple) -> None:
        if kind not in self.kinds or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if not f"{path}{os.sep}".startswith(self.folders):
            return
        self.count += 1
        os.write(self.events, f"{kind} {path}\n".encode())
        if (number := self.signals.get(str(self.count))) is not None:
            os.kill(os.getpid(), number)


if __name__ == "__main__":
    # Whatever a library prints must not get between the answers.
    _ANSWERS = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
