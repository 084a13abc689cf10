"""Inputs of all commands, a starter of processes, and a place to work in whose leftovers are counted."""

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ..hub import LoopbackHub, environment
from ..purified import TOKEN
from .inputs import Inputs, everything, make_inputs, states
from .starting import Done, Running, Starter


@pytest.fixture(scope="package")
def hub():
    """A Hub that all processes of these tests know."""
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        yield hub


@pytest.fixture(scope="package")
def home(tmp_path_factory) -> Path:
    """Where the processes have their cache of the Hub."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="package")
def starter(tmp_path_factory, hub, home):
    """Starts commands."""
    variables = environment(hub, home, HF_TOKEN=TOKEN, HF_FINEMIX_TRUSTED_PUBLISHERS="someone")
    with Starter(tmp_path_factory.mktemp("printed"), variables) as starter:
        yield starter


@pytest.fixture(scope="package")
def inputs(tmp_path_factory, tiny_tokenizer, made) -> Inputs:
    """What all commands work on."""
    return make_inputs(tmp_path_factory.mktemp("inputs"), tiny_tokenizer, made)


@pytest.fixture(autouse=True)
def inputs_stay(inputs):
    """Whatever happens, no input changes."""
    before = everything(inputs.root), states(inputs.root)
    yield
    assert (everything(inputs.root), states(inputs.root)) == before


@dataclass
class Desk:
    """
    Where a command works.

    Args:
        root (`Path`): Holds the folder of the output and a TMPDIR.
        inputs ([`Inputs`]): What it works on.
        starter ([`Starter`]): What starts it.
    """

    root: Path
    inputs: Inputs
    starter: Starter
    work: Path = field(init=False)
    scratch: Path = field(init=False)

    def __post_init__(self) -> None:
        self.work, self.scratch = self.root / "work", self.root / "scratch"
        for folder in (self.work, self.scratch):
            folder.mkdir(parents=True)

    @property
    def target(self) -> Path:
        """The output."""
        return self.work / "out"

    def start(self, command: str, *more: object, **options: Any) -> Running:
        """Starts a command; options are those of the starter."""
        watched = (self.work, self.scratch, self.inputs.root)
        usual = {"folder": self.root, "scratch": self.scratch, "watched": watched}
        arguments = self.inputs.arguments(command, self.target)
        return self.starter.start([*arguments, *more], **usual | options)

    def run(self, command: str, *more: object, **options: Any) -> Done:
        """Runs a command to its end."""
        return self.start(command, *more, **options).wait()

    def prepare(self, command: str) -> dict[str, bytes | None]:
        """Clears everything away, makes what has to be there, and gives it."""
        for folder in (self.work, self.scratch):
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.inputs.prepare(command, self.target)
        return self.files()

    def files(self) -> dict[str, bytes | None]:
        """All that is in the output's folder and in TMPDIR."""
        return {
            f"{folder.name}/{name}": content
            for folder in (self.work, self.scratch)
            for name, content in everything(folder).items()
        }


@pytest.fixture
def desk(tmp_path, inputs, starter) -> Desk:
    """A place to work in."""
    return Desk(tmp_path / "desk", inputs, starter)


@dataclass
class Wanted:
    """What a command makes when nothing goes wrong, and its moments."""

    before: dict[str, bytes | None]
    files: dict[str, bytes | None]
    moments: tuple[str, ...]
    out: str

    def some(self) -> list[int]:
        """The first moment, some in the middle, the last renaming, and the last moment of all."""
        count = len(self.moments)
        renamed = [at for at, moment in enumerate(self.moments, 1) if moment.startswith("os.rename")]
        return sorted({1, count // 3, 2 * count // 3, *renamed[-1:], count})


@pytest.fixture(scope="package")
def wanted(tmp_path_factory, inputs, starter) -> Callable[[str], Wanted]:
    """Runs a command once without a fault."""
    known: dict[str, Wanted] = {}

    def find(command: str) -> Wanted:
        if command not in known:
            desk = Desk(tmp_path_factory.mktemp("wanted") / "desk", inputs, starter)
            before = desk.prepare(command)
            done = desk.run(command)
            assert (done.status, done.err) == (0, "")
            known[command] = Wanted(before, timeless(desk.files()), done.moments, done.out)
        return known[command]

    return find


def timeless(files: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """Files without the seconds that a bench notes."""
    return {
        name: content if content is None else re.sub(rb'"seconds": [\d.e-]+', b'"seconds": 0', content)
        for name, content in files.items()
    }


def without_scratch(files: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """Files without the temporary folders of a process that was killed, which nobody can remove."""
    return {name: content for name, content in files.items() if not name.startswith("scratch/finemix-")}


def visible(names: Iterable[str]) -> set[str]:
    """Those that are not hidden, nor in a hidden folder, nor in TMPDIR."""
    return {name for name in names if name.startswith("work/") and "/." not in name}


def failed(done: Done, command: str, status: int = 1) -> str:
    """Checks that a command ended with one clear line, and gives it."""
    assert done.status == status, (done.status, done.err)
    assert re.fullmatch(rf"hf-finemix {command}: (failed|error): [^\n]+\n", done.err), done.err
    return done.err
