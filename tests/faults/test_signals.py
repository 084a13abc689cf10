"""Ctrl-C and SIGTERM at some moment of each command: nothing is left, one line says so, and the status tells which."""

import signal

import pytest

from .conftest import timeless, visible
from .inputs import READERS, WRITERS


STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
LINE = {
    signal.SIGINT: "hf-finemix: interrupted; nothing half-written is left.\n",
    signal.SIGTERM: "hf-finemix: terminated; nothing half-written is left.\n",
}


def stop(desk, command, wanted, moment, number):
    """Stops a command at a moment, and checks what it says and leaves; gives whether it was stopped."""
    before = desk.prepare(command)
    done = desk.run(command, signals={moment: number})
    found = desk.files()
    if done.status == 0:
        assert timeless(found) == wanted.files
        return False
    assert (done.status, done.err) == (STATUS[number], LINE[number])
    if command == "bench" and desk.target.exists():
        # It goes on when it is started again; what is there is whole.
        assert not [name for name in found if ".finemix-" in name]
        assert all(timeless(found)[name] == wanted.files[name] for name in visible(found))
        assert (desk.run(command).status, timeless(desk.files())) == (0, wanted.files)
    elif command == "report" and desk.target.exists():
        assert not [name for name in found if ".finemix-" in name]
        assert all(found[name] == wanted.files[name] for name in visible(found))
    else:
        assert found in (before, wanted.files)
    return True


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("command", (*WRITERS, *READERS))
def test_in_the_middle(desk, wanted, command, number):
    clean = wanted(command)
    # The two signals come at different moments.
    share = 0.4 if number is signal.SIGINT else 0.75
    assert stop(desk, command, clean, round(share * len(clean.moments)), number)


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("command", ["merge", "card"])
def test_at_every_moment_of_what_takes_little_time(desk, wanted, command, number):
    every = range(1, len(wanted(command).moments) + 1)
    assert sum(stop(desk, command, wanted(command), moment, number) for moment in every) >= len(every) - 2


@pytest.mark.slow
@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("command", (*WRITERS, *READERS))
def test_at_every_moment(desk, wanted, command, number):
    for moment in range(1, len(wanted(command).moments) + 1):
        stop(desk, command, wanted(command), moment, number)
