"""Two runs into one output at the same time: it is that of one of them, and the other says what is the matter."""

import signal

import pytest

from .conftest import failed, timeless
from .inputs import MAKERS


@pytest.mark.parametrize("command", [command for command in MAKERS if command != "report"])
@pytest.mark.parametrize("share", [0.7, 0.95])
def test_one_of_two_wins(desk, wanted, command, share):
    """The first is stopped in the middle; the second runs to its end; then the first goes on."""
    clean = wanted(command)
    moments = clean.moments
    # Not before the first has something in the output's folder.
    first = next(at for at, moment in enumerate(moments, 1) if "/work/" in moment)
    last = max(at for at, moment in enumerate(moments, 1) if moment.startswith("os.rename"))
    running = desk.start(command, signals={min(last, first + round(share * (last - first))): signal.SIGSTOP})
    assert running.wait() is None
    second = desk.run(command)
    done = running.go_on()
    if second.status == 0:
        assert "out" in failed(done, command)
    else:
        assert "another" in failed(second, command, 2)
        assert (done.status, done.err) == (0, "")
    assert timeless(desk.files()) == clean.files


@pytest.mark.parametrize("command", ["report", "scan", "card"])
def test_files_that_are_replaced_are_whole(desk, wanted, command):
    clean = wanted(command)
    desk.prepare(command)
    running = desk.start(command, signals={2 * len(clean.moments) // 3: signal.SIGSTOP})
    assert running.wait() is None
    for done in (desk.run(command), running.go_on()):
        assert (done.status, done.err) == (0, "")
    assert desk.files() == clean.files


def test_a_second_run_that_would_go_on_with_the_first(desk, wanted):
    running = desk.start("mix", signals={2 * len(wanted("mix").moments) // 3: signal.SIGSTOP})
    assert running.wait() is None
    assert "is being made by another process; wait for it" in failed(desk.run("mix", "--resume"), "mix", 2)
    assert running.go_on().status == 0
    assert desk.files() == wanted("mix").files
