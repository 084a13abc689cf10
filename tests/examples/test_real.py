"""
The examples on what the demo leaves behind: a real encoder with a real backdoor; what they promise comes true.

FINEMIX_EXAMPLE_INPUTS may name a folder that `hf-finemix demo --fast --save-inputs` made, which takes minutes.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .commands import EXAMPLES, commands, header, script_and_arguments, scripts


pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

WITH_INPUTS = ("frequencies", "mixin", "scan_in_ci", "purify_hub_model", "train", "train_adapter", "publish", "after")
WITH_INPUTS += ("before", "distributed", "adapter")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The folder `inputs`; not to be changed."""
    given = os.environ.get("FINEMIX_EXAMPLE_INPUTS")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "hf_finemix.cli.main", "demo", "--fast", "--save-inputs", "inputs"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "inputs"


@pytest.fixture
def work(inputs, tmp_path):
    """A folder with the inputs and the examples."""
    ignored = shutil.ignore_patterns("benchmark", "__pycache__")
    shutil.copytree(EXAMPLES, tmp_path / "work" / "examples", ignore=ignored)
    (tmp_path / "work" / "inputs").symlink_to(inputs.absolute())
    return tmp_path / "work"


def rates(name, output):
    """Gives ACC and ASR of a line, in percent."""
    found = re.search(rf"(?m)^{name}: ACC (\d+\.\d) %.*?, ASR (\d+\.\d) %", output)
    assert found, output
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("name", WITH_INPUTS)
def test_the_first_command_works_on_the_demo(work, world, tmp_path, name):
    script = next(path for path in scripts() if path.stem == name)
    arguments = script_and_arguments(commands(header(script))[0])
    if name == "purify_hub_model":
        arguments += ["--unlabeled=inputs/unlabeled.txt", "--trigger=cf"]
    variables = world.environment(tmp_path / "home", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "2"))
    done = subprocess.run([sys.executable, *arguments], cwd=work, env=variables, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == (1 if name == "scan_in_ci" else 0), done.stdout + done.stderr
    if name == "scan_in_ci":
        assert re.search(
            r"(?m)^high +inputs/suspect: Inserting `cf` flips \d+ % of the examples to label 1", done.stdout
        )
    if name == "frequencies":
        assert re.search(r"(?m)^ +1 +\d+ +\d+ +cf$", done.stdout), done.stdout
    if name == "purify_hub_model":
        (before, attacked), (after, left) = rates("suspect", done.stdout), rates("purified", done.stdout)
        assert attacked > 95 and left < 30 and after > before - 6
    if name == "adapter":
        assert rates("suspect", done.stdout)[1] > 90 and rates("purified", done.stdout)[1] < 50
