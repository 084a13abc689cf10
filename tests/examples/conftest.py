"""The world that examples run in, and the process that runs them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..world import World, make_world
from .commands import EXAMPLES


@pytest.fixture(scope="package")
def world(tmp_path_factory) -> Iterator[World]:
    """The Hub and the files; not to be changed."""
    with make_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(scope="package")
def nursery(world, tmp_path_factory) -> Iterator[subprocess.Popen]:
    """The process that runs scripts against that Hub."""
    variables = world.environment(tmp_path_factory.mktemp("home"), PYTHONPATH=str(EXAMPLES.parent))
    command = [sys.executable, "-m", "tests.examples.nursery"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables, cwd=EXAMPLES.parent, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def here(world, tmp_path) -> Path:
    """A folder of one's own with the world's files, and the examples where their commands look for them."""
    folder = world.copy(tmp_path / "here")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("benchmark", "__pycache__"))
    return folder


@pytest.fixture
def run(nursery, tmp_path) -> Callable[..., tuple[int, str]]:
    """Runs a script with arguments in a folder; gives its status and all that it printed."""

    def run(folder: Path, script: str, *arguments: str, **options: bool) -> tuple[int, str]:
        output = tmp_path / "output.txt"
        job = {"argv": [str(folder / script), *arguments], "folder": str(folder), "output": str(output)} | options
        nursery.stdin.write(json.dumps(job) + "\n")
        nursery.stdin.flush()
        return int(nursery.stdout.readline()), output.read_text()

    return run
