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


# What the command is there to explain must not end it.


def test_an_address_that_is_none_is_a_problem(tmp_path):
    command = [sys.executable, "-m", "hf_finemix.cli.main", "doctor", "--json"]
    variables = environment("http://me:secret@[bad", tmp_path / "home")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    assert (done.returncode, done.stderr) == (1, "") and "secret" not in done.stdout
    found = json.loads(done.stdout)
    said = "HF_ENDPOINT holds something that is no address; set it to that of your Hub, or unset it."
    assert (found["problems"], found["hub"], found["folders"]) == ([said], None, [])
    # All else is there.
    assert "torch" in {package["name"] for package in found["packages"]} and found["devices"][0]["kind"] == "cpu"


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize("name", ["file/home", "a" * 300], ids=["below a file", "long"])
def test_a_home_that_cannot_be_looked_at_is_a_problem(hub, monkeypatch, capsys, tmp_path, name, more):
    connect(monkeypatch, hub, tmp_path / name)
    monkeypatch.delenv("HF_TOKEN_PATH")
    (tmp_path / "file").touch()
    status, out, err = run(capsys, ["doctor", *more])
    assert (status, err) == (1, "") and f"{tmp_path / name} cannot be written (" in out
    assert f"The token in {tmp_path / name / 'token'} cannot be read (" in out
    assert (
        out.count("set HF_HOME to another ") == (3 if more else 2) and "reachable" in out and "unreachable" not in out
    )
    assert "the token cannot be read." in out or more


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize("kind", ["folder", "bytes"])
def test_a_token_file_that_is_none_is_a_problem(hub, monkeypatch, capsys, tmp_path, kind, more):
    connect(monkeypatch, hub, tmp_path / "home")
    token = tmp_path / "home" / "token"
    if kind == "folder":
        token.mkdir(parents=True)
    else:
        token.parent.mkdir()
        token.write_bytes(TOKEN.encode() + b"\xff")
    status, out, err = run(capsys, ["doctor", *more])
    assert (status, err) == (1, "") and f"The token in {token} cannot be read (" in out and TOKEN[3:] not in out


def test_a_client_that_cannot_be_imported_is_a_problem(hub, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "problem_of_client", lambda: "HF_ENDPOINT holds something.")
    monkeypatch.setitem(sys.modules, "hf_finemix.trust", None)
    status, out, err = run(capsys, ["doctor"])
    assert (status, err) == (1, "") and out.endswith("\nproblem: HF_ENDPOINT holds something.\n")
    assert "\nTrusted publishers: unknown, as a package cannot be imported.\n" in out
    assert "\ntorch " in out and "\ncpu " in out and "\nHub " not in out


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
