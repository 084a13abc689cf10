"""`kill -9` at many moments of each command: what it leaves is whole or hidden, and the next run succeeds."""

import shutil
import signal

import pytest

from .conftest import timeless, visible, without_scratch
from .inputs import WRITERS


# What is there must be whole, but need not be all: the next run goes on with it, or replaces file after file.
PIECEMEAL = ("bench", "report", "card")
HIDDEN = (".finemix-", ".out.finemix-mix", "finemix-")


def check(desk, command, wanted):
    """Checks that nothing half-written is in sight, and gives whether the output is there."""
    found = timeless(desk.files())
    for name in visible(found):
        assert found[name] in (wanted.files.get(name), wanted.before.get(name, wanted.files.get(name))), name
    there = visible(found) - visible(wanted.before)
    if command not in PIECEMEAL:
        assert there in (set(), visible(wanted.files))
        tops = {name.split("/")[1] for name in found.keys() - visible(found) if not name.startswith("work/out/")}
        assert all(name.startswith(HIDDEN) for name in tops)
    return bool(there)


def kill_and_run_again(desk, command, wanted, moments):
    desk.prepare(command)
    for moment in moments:
        done = desk.run(command, signals={moment: signal.SIGKILL})
        if done.status == 0:
            # Threads take turns, and what was there already is not made again: there were fewer moments.
            assert command in ("mix", *PIECEMEAL)
        else:
            assert (done.status, done.err) == (-signal.SIGKILL, "")
        if check(desk, command, wanted) and command not in PIECEMEAL:
            shutil.rmtree(desk.target) if desk.target.is_dir() else desk.target.unlink()
    more = ["--resume"] if command == "mix" else []
    done = desk.run(command, *more)
    assert (done.status, done.err) == (0, "")
    found = timeless(desk.files())
    assert {name: found[name] for name in visible(found)} == {
        name: wanted.files[name] for name in visible(wanted.files)
    }


@pytest.mark.parametrize("command", WRITERS)
def test_some_kills_in_a_row_and_a_run_that_succeeds(desk, wanted, command):
    kill_and_run_again(desk, command, wanted(command), wanted(command).some())


@pytest.mark.slow
@pytest.mark.parametrize("command", WRITERS)
def test_a_kill_at_every_moment(desk, wanted, command):
    for moment in range(1, len(wanted(command).moments) + 1):
        kill_and_run_again(desk, command, wanted(command), [moment])


@pytest.mark.parametrize("command", ["mix", "bench"])
def test_the_next_run_clears_away_what_was_left(desk, wanted, command):
    clean = wanted(command)
    desk.prepare(command)
    desk.run(command, signals={2 * len(clean.moments) // 3: signal.SIGKILL})
    assert any(".finemix-" in name for name in desk.files()) or command == "bench"
    assert desk.run(command, "--resume" if command == "mix" else "--workers=1").status == 0
    assert timeless(without_scratch(desk.files())) == clean.files
