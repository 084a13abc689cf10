"""A process that is killed while several train: the others end, and the run goes on from its checkpoint."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file


SCRIPT = Path(__file__).parent / "launched_killed.py"


def train(place, output, step):
    """Starts two processes, of which the second kills itself after a step."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(SCRIPT)]
    command += [str(place.root), str(output), str(step)]
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=os.environ | settings)


def test_the_others_end_and_the_run_goes_on(workplace):
    whole, broken = workplace.root / "whole", workplace.root / "broken"
    done = train(workplace, whole, 0)
    assert done.returncode == 0, done.stderr

    killed = train(workplace, broken, 3)
    assert time.time() - float((broken / "death").read_text()) < 60
    # The launcher says which process it was, and by which signal.
    assert killed.returncode != 0 and "SIGKILL" in killed.stderr and "rank      : 1" in killed.stderr
    assert [path.name for path in broken.glob("checkpoint-*")] == ["checkpoint-2"]
    assert not (broken / "model.safetensors").exists()

    done = train(workplace, broken, 0)
    assert done.returncode == 0, done.stderr
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, broken))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
