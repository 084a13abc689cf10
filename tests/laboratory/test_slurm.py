"""The job array for Slurm: a seed for each task, and one folder in the end, with nothing left to compute."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_finemix import bench

from .test_benching import contents


SCRIPT = Path(__file__).parents[2] / "examples" / "benchmark" / "slurm_array.sh"


@pytest.mark.slow
def test_tasks_of_an_array_give_the_results_of_one_bench(laboratory):
    config, results = laboratory.write(seeds=[3, 1]), laboratory.root / "results"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # Put together twice, as after one more task.
    for task in ({"SLURM_ARRAY_TASK_ID": "0"}, {"SLURM_ARRAY_TASK_ID": "1"}, {}, {}):
        command = ["bash", str(SCRIPT), str(config), str(results)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | task | {"PATH": path})
        assert done.returncode == 0, done.stderr
    assert "8 cells of 2 suspects" in done.stdout and "0 failed" in done.stdout
    # With the seconds that each took in its task: none was computed again.
    for path in results.glob("seed-*/cells/*.json"):
        assert (results / "all" / "cells" / path.name).read_bytes() == path.read_bytes()
    bench(config, laboratory.output)
    assert contents(results / "all") == contents(laboratory.output)
