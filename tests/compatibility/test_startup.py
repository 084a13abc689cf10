"""What is imported before it is needed: nothing heavy. Times are measured by examples/benchmark/startup.py."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


HEAVY = {"torch", "transformers", "numpy", "pandas", "pyarrow", "datasets", "evaluate", "peft", "accelerate", "trl"}
HEAVY |= {"gradio", "matplotlib", "rich", "huggingface_hub", "httpx2", "safetensors", "jinja2", "shtab", "markdown_it"}
SCRIPT = Path(sysconfig.get_path("scripts"), "hf-finemix")


def imported(*command):
    """The packages that a Python program imports, as Python itself says."""
    result = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_import_of_the_package_imports_no_library():
    found = imported("-c", "import hf_finemix")
    assert "hf_finemix" in found
    assert not found & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["purify", "--help"], ["scan", "--help"]])
def test_help_of_the_console_script_imports_no_library(arguments):
    found = imported(str(SCRIPT), *arguments)
    assert {"hf_finemix", "argparse"} <= found
    assert not found & HEAVY


def test_a_heavy_import_is_seen():
    # Else the tests above could not fail.
    assert imported("-c", "import hf_finemix.masks") & HEAVY == {"numpy"}
