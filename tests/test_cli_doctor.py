"""`hf-finemix doctor`: what it prints, its exit statuses, and that no token is ever shown."""

import json
import os
import subprocess
import sys

import pytest

from hf_finemix import doctor
from hf_finemix.doctor_packages import Extra, Package

from .files import run
from .hub import LoopbackHub, connect, environment
from .purified import TOKEN


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        connect(monkeypatch, hub, tmp_path / "home", token=TOKEN)
        yield hub


def test_all_is_well(hub, capsys, tmp_path):
    status, out, err = run(capsys, ["doctor"])
    assert (status, err) == (0, "") and out.endswith("All that hf-finemix needs is there.\n")
    assert out.startswith("hf-finemix ")
    assert "torch" in out and "processors" in out and str(tmp_path / "home") in out
    assert f"Hub {hub.endpoint}: reachable; a token is there, of me." in out
    assert "Trusted publishers (hf-finemix): albert, " in out
    assert not any(tmp_path.iterdir())


def test_json(hub, capsys):
    status, out, err = run(capsys, ["doctor", "--json"])
    assert (status, err) == (0, "")
    assert json.loads(out).keys() == {
        *("version", "system", "packages", "extras", "devices", "folders", "hub"),
        *("trusted_publishers", "trusted_from", "problems", "warnings"),
    }


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_dependency_out_of_range_is_a_problem(hub, monkeypatch, capsys, more):
    packages = (Package("torch", "1.0", ">=2.13,<3", False), Package("python", "3.11.0", ">=3.11", True))
    extra = Extra("ui", (Package("gradio", None, ">=6.31,<7", False),), "pip install 'hf-finemix[ui]'")
    monkeypatch.setattr(doctor, "own_packages", lambda: (packages, (extra,)))
    status, out, _ = run(capsys, ["doctor", *more])
    said = "torch is 1.0, but >=2.13,<3 is needed; pip install 'torch>=2.13,<3'"
    assert status == 1 and said in out and "needs is there" not in out
    assert "pip install 'hf-finemix[ui]'" in out


def test_a_cache_that_cannot_be_written_is_a_problem(hub, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "file"))
    status, out, _ = run(capsys, ["doctor", "--offline"])
    assert status == 1 and f"problem: {tmp_path / 'file'} cannot be written (" in out
    assert f"Hub {hub.endpoint}: not asked (as --offline says); a token is there." in out and not hub.requests


def test_a_hub_that_is_not_there_is_a_warning(monkeypatch, capsys, tmp_path):
    connect(monkeypatch, "http://127.0.0.1:1", tmp_path / "home")
    status, out, _ = run(capsys, ["doctor"])
    assert status == 0 and "Hub http://127.0.0.1:1: unreachable (ConnectError: " in out and "; no token." in out
    assert "warning: The Hub (http://127.0.0.1:1) cannot be reached" in out


# The token


@pytest.mark.parametrize("more", [[], ["--json"], ["--debug"], ["--offline"], ["--json", "--debug"]], ids=" ".join)
@pytest.mark.parametrize("token", [TOKEN, "hf_wrongWRONGwrong", "hf_ünsendbar"])
def test_no_token_is_shown(hub, monkeypatch, capsys, tmp_path, token, more):
    connect(monkeypatch, hub, tmp_path / "home", token=token)
    status, out, err = run(capsys, ["doctor", *more])
    assert status == 0 and not [part for part in (token, token[3:10], ascii(token)[4:10]) if part in out + err]


def test_no_token_of_a_file_is_shown_by_the_client_in_its_talkative_mood(hub, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text(TOKEN)
    variables = environment(hub, home, HF_DEBUG="1", HF_HUB_VERBOSITY="debug")
    command = [sys.executable, "-m", "hf_finemix.cli.main", "doctor", "--debug", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    assert done.returncode == 0 and TOKEN[3:] not in done.stdout + done.stderr
    # It was sent, and the client says that it did.
    assert [request.status for request in hub.requests] == [401, 200] and "/api/whoami-v2" in done.stderr
