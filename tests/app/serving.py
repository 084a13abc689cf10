"""An app in a process of its own, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile


@dataclass
class Served:
    """
    A running app.

    Args:
        address (`str`): Where it is, without a slash at the end.
        process ([`~subprocess.Popen`]): Its process.
        scratch (`Path`): The folder in which it makes its temporary folder.
        said (`list[str]`): After the end, what it wrote to standard output and standard error.
    """

    address: str
    process: subprocess.Popen
    scratch: Path
    said: list[str]


@contextmanager
def serve(scratch: Path, *arguments: str, **variables: str) -> Iterator[Served]:
    """Starts `hf-finemix ui` on a free port, and stops it with Ctrl-C."""
    command = [sys.executable, "-m", "hf_finemix.cli.main", "ui", "--port", "0", *arguments]
    environment = os.environ | {"TMPDIR": str(scratch), "HF_HUB_OFFLINE": "1"} | variables
    with TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+[^\s/]", line)
            if found is None:
                process.wait(60)
                errors.seek(0)
                raise RuntimeError(f"the app did not start: {line}{errors.read()}")
            served = Served(found[0], process, scratch, [line])
            yield served
        finally:
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=120)
            errors.seek(0)
        served.said += [rest, errors.read()]
