"""Folders that cannot be written: outputs, where that is said at once, and inputs, which need not be writable."""

import re

import pytest

from .conftest import failed, timeless
from .disks import unwritable
from .inputs import READERS, WRITERS


# What is found out before the work starts is an argument to correct.
STATUS = {command: 1 if command == "card" else 2 for command in WRITERS}
SAID = "cannot be made|cannot be written|Read-only file system|Permission denied"


@pytest.mark.parametrize("command", WRITERS)
def test_output_on_a_disk_that_can_only_be_read(desk, command):
    before = desk.prepare(command)
    with unwritable(desk.work):
        done = desk.run(command)
    assert re.search(SAID, failed(done, command, STATUS[command]))
    assert desk.files() == before


@pytest.mark.parametrize("command", WRITERS)
def test_output_in_a_folder_without_the_right_to_write(desk, command):
    before = desk.prepare(command)
    folder = desk.target if desk.target.exists() else desk.work
    folder.chmod(0o555)
    done = desk.run(command, humble=True)
    folder.chmod(0o755)
    assert re.search(SAID, failed(done, command, STATUS[command]))
    assert desk.files() == before


@pytest.mark.parametrize("command", [command for command in (*WRITERS, *READERS) if command != "card"])
def test_inputs_need_not_be_writable(desk, wanted, command):
    clean = wanted(command)
    with unwritable(desk.inputs.root):
        done = desk.run(command)
    assert (done.status, done.err) == (0, "")
    assert timeless(desk.files()) == clean.files
