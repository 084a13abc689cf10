"""Several processes together: the same mixed bytes on each, and the figures of one process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parent / "launched.py"


@pytest.fixture
def launch(workplace):
    def run(processes):
        command = [sys.executable, str(SCRIPT), str(workplace.root), str(processes)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads((workplace.root / f"rank-{rank}.json").read_text()) for rank in range(processes)]

    return run


def test_two_processes_give_the_mixing_and_the_figures_of_one(launch):
    (alone,) = launch(1)
    first, second = launch(2)
    assert (alone["processes"], first["processes"], second["processes"]) == (1, 2, 2)
    assert first["mixed"] == second["mixed"] == alone["mixed"]

    assert first["trained"] == second["trained"] != first["mixed"]
    assert first["examples"] == second["examples"] == alone["examples"] == [8, 7]
    # Trainer's own default multiplies these by the number of processes.
    assert first["eval_loss"] == second["eval_loss"] == pytest.approx(alone["eval_loss"], rel=1e-5)
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    for row, expected in zip(first["classifier"], alone["classifier"], strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-6)

    for rank in (first, second):
        assert rank["fsdp"] == "`fsdp` is set, but FSDP is not active; start the script with `accelerate launch`."
