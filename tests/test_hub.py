"""Hub ids: fetched over real HTTP from a loopback Hub, pinned to a commit, and never more than is needed."""

import json
import os
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from .hub import COMMIT, serve


def hf_finemix(arguments, home, endpoint, offline="0"):
    """Runs a command in a process of its own, whose Hub is the loopback one."""
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": offline,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-m", "hf_finemix.cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def hub(workplace):
    # What a suspect's repository may hold besides: none of it is wanted.
    (workplace.suspect / "pytorch_model.bin").write_bytes(b"a pickle")
    (workplace.suspect / "modeling_custom.py").write_text("raise SystemExit('ran')")
    with serve({"someone/suspect": workplace.suspect, "org/base": workplace.base}) as (endpoint, requests):
        yield endpoint, requests


def test_purify_hub_ids(workplace, hub):
    endpoint, requests = hub
    arguments = workplace.arguments(suspect="someone/suspect", pretrained="org/base@main")
    result = hf_finemix(arguments, workplace.root / "home", endpoint)
    assert result.returncode == 0, result.stderr
    manifest = json.loads((workplace.output / "finemix_manifest.json").read_text())
    for name, repository in (("suspect", "someone/suspect"), ("pretrained", "org/base")):
        assert manifest["inputs"][name]["repo_id"] == repository
        assert manifest["inputs"][name]["commit"] == COMMIT
    assert ModelCard.load(workplace.output / "README.md").data.base_model == ["someone/suspect", "org/base"]
    fetched = [request for request in requests if "resolve" in request]
    assert fetched and all(f"/resolve/{COMMIT}/" in request for request in fetched)
    assert not [request for request in requests if "pytorch_model" in request or ".py" in request]


def test_second_run_needs_no_network(workplace, hub):
    endpoint, _ = hub
    scan = ["scan", "someone/suspect", "--pretrained", "org/base", "--json"]
    first = hf_finemix(scan, workplace.root / "home", endpoint)
    assert first.returncode == 0, first.stderr
    second = hf_finemix(scan, workplace.root / "home", endpoint, offline="1")
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout


@pytest.mark.parametrize(
    ("suspect", "message"),
    [("someone/nothing", "neither a local folder nor a Hub repository"), ("someone/suspect@v9", "no revision 'v9'")],
)
def test_what_the_hub_lacks_gets_one_line(workplace, hub, suspect, message):
    endpoint, _ = hub
    result = hf_finemix(workplace.arguments(suspect=suspect), workplace.root / "home", endpoint)
    assert result.returncode == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not workplace.output.exists()
