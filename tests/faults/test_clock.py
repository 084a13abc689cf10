"""A clock that jumps, in a run or between two, and files of the future: no result depends on them."""

import os
import shutil
import signal

import pytest

from .conftest import Desk, timeless, without_scratch
from .inputs import READERS, WRITERS, Inputs


# The clock of the day jumps to and fro by years; that of the processor's time does not.
JUMPING = """
import itertools, time
real, jumps = time.time, itertools.cycle((0, 3e9, -1.7e9, 40.0, -86400.0))
time.time = lambda: max(0.0, real() + next(jumps))
time.time_ns = lambda: int(time.time() * 1e9)
"""
PAST = "import time; real = time.time; time.time = lambda: real() - 1e9"


@pytest.mark.parametrize("command", (*WRITERS, *READERS))
def test_a_clock_that_jumps_while_it_works(desk, wanted, command):
    clean = wanted(command)
    desk.prepare(command)
    done = desk.run(command, code=JUMPING)
    assert (done.status, done.err) == (0, "")
    assert timeless(without_scratch(desk.files())) == clean.files
    assert command not in READERS or done.out == clean.out


@pytest.mark.parametrize("command", ["mix", "bench"])
def test_a_clock_that_was_put_back_does_not_keep_a_run_from_going_on(desk, wanted, command):
    clean = wanted(command)
    done = desk.run(command, signals={2 * len(clean.moments) // 3: signal.SIGKILL})
    assert done.status == -signal.SIGKILL
    done = desk.run(command, *["--resume"] * (command == "mix"), code=PAST)
    assert (done.status, done.err) == (0, "")
    assert timeless(without_scratch(desk.files())) == clean.files


@pytest.mark.parametrize("time", [0, 2**32], ids=["1970", "2106"])
def test_files_of_another_time(inputs, starter, wanted, tmp_path, time):
    root = shutil.copytree(inputs.root, tmp_path / "inputs")
    place = type(inputs.place)(root, *(root / path.name for path in (inputs.place.suspect, inputs.place.base)), root)
    place = type(place)(root, place.suspect, place.base, root / inputs.place.clean.name)
    for path in root.rglob("*"):
        os.utime(path, (time, time))
    desk = Desk(tmp_path / "desk", Inputs(root, place), starter)
    for command in ("purify", "mix", "scan", "card"):
        desk.prepare(command)
        done = desk.run(command)
        assert (done.status, done.err) == (0, "")
        assert desk.files() == wanted(command).files
