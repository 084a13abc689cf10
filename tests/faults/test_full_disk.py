"""A disk that fills up while a command works, a limit on the size of files, a TMPDIR and a pipe without room."""

import re
import signal
from pathlib import Path

import pytest

from .conftest import failed, timeless
from .disks import fill, small_disk
from .inputs import READERS, WRITERS


FULL = r"No space left on device|os error 28"
TOO_LARGE = r"File too large|os error 27"


def leaves_nothing(desk, command, before):
    found = desk.files()
    found.pop("work/taken", None)
    if command in ("bench", "report"):
        # Both go on when they are started again; what is there must be whole, which the next run shows.
        assert not [name for name in found if ".finemix-" in name]
    else:
        assert found == before


@pytest.mark.parametrize("command", WRITERS)
def test_disk_that_fills_up(desk, wanted, command):
    """The command is stopped before it first writes, the disk is filled, and it goes on; twice, with other moments."""
    moments = wanted(command).moments
    writes = [at for at, moment in enumerate(moments, 1) if "/work/" in moment and re.match("open|os.mkdir", moment)]
    with small_disk(desk.work, 2000):
        for at in (writes[0], writes[len(writes) // 3]):
            before = desk.prepare(command)
            running = desk.start(command, signals={at: signal.SIGSTOP})
            assert running.wait() is None
            taken = fill(desk.work)
            done = running.go_on()
            status = 2 if command == "report" else 1
            assert re.search(FULL, failed(done, command, status))
            taken.unlink()
            leaves_nothing(desk, command, before)
        assert desk.run(command).status == 0


@pytest.mark.parametrize("command", WRITERS)
def test_limit_on_the_size_of_files(desk, wanted, command):
    clean = wanted(command)
    written = [len(content or b"") for name, content in clean.files.items() if content != clean.before.get(name)]
    before = desk.prepare(command)
    # What is watched is written to a file.
    done = desk.run(command, file_size=max(written) // 2, watched=())
    if command == "bench":
        # The models cannot be kept, so that suspect and cells fail, each in its record; all is made later.
        assert (done.status, done.err) == (1, "") and re.search(TOO_LARGE, done.out) and "; 3 failed" in done.out
    else:
        assert re.search(TOO_LARGE, failed(done, command, 2 if command == "report" else 1))
    leaves_nothing(desk, command, before)
    assert desk.run(command).status == 0
    assert timeless(desk.files()) == clean.files


def test_tmpdir_without_room_for_a_merged_adapter(desk, inputs):
    arguments = inputs.arguments("purify", desk.target)
    arguments[1] = inputs.root / "adapter"
    options = {"folder": desk.root, "scratch": desk.scratch}
    with small_disk(desk.scratch, 8):
        done = desk.starter.run([*arguments, "--labels", "negative", "positive", "none"], **options)
        assert re.search(FULL, failed(done, "purify"))
        assert not desk.files()


@pytest.mark.parametrize("command", (*READERS, "scan", "mix"))
def test_standard_output_on_a_full_disk(desk, wanted, command):
    wanted(command)
    desk.prepare(command)
    done = desk.run(command, out=Path("/dev/full"))
    assert re.search(FULL, failed(done, command))
