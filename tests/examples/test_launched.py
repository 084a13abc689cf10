"""The example for several processes, started as its header says."""

import subprocess
import sys

import pytest
from safetensors.torch import load_file

from .commands import EXAMPLES, commands, header


SCRIPT = EXAMPLES / "distributed.py"


@pytest.mark.slow
def test_two_processes_train_one_model(world, here, run, tmp_path):
    command = commands(header(SCRIPT))[0]
    assert command[:3] == ["torchrun", "--nproc-per-node", "2"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", *command[1:], "--epochs=1"]
    variables = world.environment(tmp_path / "home")
    done = subprocess.run(launcher, cwd=here, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # Said once, and measured on each example once.
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("ACC "))
    assert line.endswith(" % of 80, 2 processes") and done.stdout.count("mixed ") == 1
    status, output = run(here, "examples/distributed.py", "--epochs=1", "--output=alone")
    assert status == 0 and "1 processes" in output
    # The mixed bits and the batches are the same; what is left is dropout, which each process draws for itself.
    ours, theirs = (load_file(here / name / "model.safetensors") for name in ("purified", "alone"))
    assert ours.keys() == theirs.keys() and all((ours[name] - theirs[name]).abs().max() < 0.01 for name in ours)
