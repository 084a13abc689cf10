"""Hub ids: fetched over real HTTP from a loopback Hub, pinned to a commit, and never more than is needed."""

import json
import os
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from .hub import LoopbackHub, environment


def hf_finemix(arguments, home, hub, **variables):
    """Runs a command in a process of its own, whose Hub is the loopback one."""
    command = [sys.executable, "-m", "hf_finemix.cli.main", *arguments]
    variables = os.environ | environment(hub, home, **variables)
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def commits(workplace, hub):
    # What a suspect's repository may hold besides: none of it is wanted.
    (workplace.suspect / "pytorch_model.bin").write_bytes(b"a pickle")
    (workplace.suspect / "modeling_custom.py").write_text("raise SystemExit('ran')")
    return {
        "someone/suspect": hub.add_model("someone/suspect", workplace.suspect),
        "org/base": hub.add_model("org/base", workplace.base),
    }


def test_purify_hub_ids(workplace, hub, commits):
    arguments = workplace.arguments(suspect="someone/suspect", pretrained="org/base@main")
    result = hf_finemix(arguments, workplace.root / "home", hub)
    assert result.returncode == 0, result.stderr
    manifest = json.loads((workplace.output / "finemix_manifest.json").read_text())
    for name, repository in (("suspect", "someone/suspect"), ("pretrained", "org/base")):
        assert manifest["inputs"][name]["repo_id"] == repository
        assert manifest["inputs"][name]["commit"] == commits[repository]
    assert ModelCard.load(workplace.output / "README.md").data.base_model == ["someone/suspect", "org/base"]
    paths = [request.path for request in hub.requests]
    fetched = [path for path in paths if "resolve" in path]
    pinned = tuple(f"/{repository}/resolve/{commit}/" for repository, commit in commits.items())
    assert fetched and all(path.startswith(pinned) for path in fetched)
    assert not [path for path in paths if "pytorch_model" in path or ".py" in path]


def test_second_run_needs_no_network(workplace, hub, commits):
    scan = ["scan", "someone/suspect", "--pretrained", "org/base", "--json"]
    first = hf_finemix(scan, workplace.root / "home", hub)
    assert first.returncode == 0, first.stderr
    second = hf_finemix(scan, workplace.root / "home", hub, HF_HUB_OFFLINE="1")
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout


@pytest.mark.parametrize(
    ("suspect", "message"),
    [("someone/nothing", "neither a local folder nor a Hub repository"), ("someone/suspect@v9", "no revision 'v9'")],
)
def test_what_the_hub_lacks_gets_one_line(workplace, hub, commits, suspect, message):
    result = hf_finemix(workplace.arguments(suspect=suspect), workplace.root / "home", hub)
    assert result.returncode == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not workplace.output.exists()
