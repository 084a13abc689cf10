"""A Hub that goes away, and processes that die, in the middle of a download or an upload."""

import os
import re
import signal

import pytest

from ..hub.faults import Fault
from ..purified import read
from .conftest import failed


# The client would wait minutes in all; its waits are tested elsewhere.
IMPATIENT = """
from types import SimpleNamespace
import hf_finemix.hub_errors
from huggingface_hub import file_download
from huggingface_hub.utils import _http
clock = SimpleNamespace(sleep=lambda seconds: None)
hf_finemix.hub_errors.time = _http.time = file_download.time = clock
"""
DOWNLOADS = ("purify", "mix", "scan", "evaluate", "merge", "verify")
GET = ("GET", "/resolve/.*safetensors")


@pytest.fixture(autouse=True)
def no_fault_stays(hub):
    """The Hub lives longer than a test."""
    yield
    for fault in hub.faults._faults:
        fault.times = 0


@pytest.fixture
def names(hub, inputs):
    """Hub ids of this test alone, so that nothing of them is in the cache."""
    number = sum(1 for name in hub.store.repositories if name.startswith("someone/"))
    folders = {"suspect": inputs.place.suspect, "base": inputs.place.base, "adapter": inputs.root / "adapter"}
    found = {}
    for name, folder in (folders | {"out": inputs.place.output}).items():
        found[str(folder)] = f"someone/{name}{number}"
        hub.add_model(found[str(folder)], folder)
    return found


@pytest.fixture
def from_hub(desk, names):
    """The command line of a command whose models are on the Hub."""
    return lambda command: [names.get(str(item), item) for item in desk.inputs.arguments(command, desk.target)]


def options(desk):
    return {"folder": desk.root, "scratch": desk.scratch, "code": IMPATIENT}


def killing(monkeypatch, hub, method, path, number):
    """Makes the Hub kill whoever sends such a request, before it is answered; gives where the process goes."""
    took, victims = hub.faults.take, []

    def take(asked, where):
        if victims and asked == method and re.search(path, where):
            os.kill(victims.pop(), number)
        return took(asked, where)

    monkeypatch.setattr(hub.faults, "take", take)
    return victims


class TestDownloads:
    @pytest.mark.parametrize("command", DOWNLOADS)
    def test_hub_that_goes_away(self, desk, hub, from_hub, wanted, command):
        clean = wanted(command)
        for fault in (Fault("GET", "/api/models/", 1000), Fault(*GET, 1000, after=1000)):
            hub.faults.add(fault)
            done = desk.starter.run(from_hub(command), **options(desk))
            fault.times = 0
            assert "Hub" in failed(done, command, 2)
            assert not desk.files()
        done = desk.starter.run(from_hub(command), **options(desk))
        assert (done.status, "Traceback" in done.err) == (0, False), done.err
        if command in ("mix", "merge"):
            weights = "work/out/model.safetensors"
            assert desk.files()[weights] == clean.files[weights]

    @pytest.mark.parametrize("command", ["purify", "mix"])
    def test_process_that_is_killed(self, desk, hub, home, from_hub, wanted, monkeypatch, command):
        for number, status in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
            victims = killing(monkeypatch, hub, *GET, number)
            hub.faults.add(cut := Fault(*GET, 1000, after=1000))
            running = desk.starter.start(from_hub(command), **options(desk))
            victims.append(running.pid)
            done = running.wait()
            cut.times = 0
            assert done.status == status, done.err
            assert not desk.files() and "Traceback" not in done.err
        done = desk.starter.run(from_hub(command), **options(desk))
        assert done.status == 0, done.err


class TestUploads:
    @pytest.fixture
    def folder(self, desk):
        desk.prepare("card")
        return desk.target

    def push(self, desk, folder, repo_id):
        return desk.starter.start(["push", folder, repo_id], **options(desk))

    @pytest.mark.parametrize("request_", [("PUT", "/lfs/"), ("POST", "/commit/")], ids=["put", "commit"])
    def test_hub_that_goes_away(self, desk, hub, folder, request_):
        repo_id, before = f"me/cut-{request_[0].lower()}", read(folder)
        hub.faults.add(cut := Fault(*request_, 1000, after=1000))
        line = failed(self.push(desk, folder, repo_id).wait(), "push")
        cut.times = 0
        assert "run the command again" in line and read(folder) == before
        assert len(hub.commits(repo_id)) == 1
        assert self.push(desk, folder, repo_id).wait().status == 0
        assert len(hub.commits(repo_id)) == 2

    @pytest.mark.parametrize("request_", [("PUT", "/lfs/"), ("POST", "/commit/")], ids=["put", "commit"])
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_process_that_is_stopped(self, desk, hub, folder, monkeypatch, request_, number):
        repo_id, before = f"me/stopped-{request_[0].lower()}-{number}", read(folder)
        victims = killing(monkeypatch, hub, *request_, number)
        running = self.push(desk, folder, repo_id)
        victims.append(running.pid)
        done = running.wait()
        assert done.status == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number], done.err
        assert "Traceback" not in done.err and read(folder) == before and not any(desk.scratch.iterdir())
        # The Hub had the whole request, and made the commit or not.
        assert len(hub.commits(repo_id)) in (1, 2)
        assert self.push(desk, folder, repo_id).wait().status == 0
        assert len(hub.commits(repo_id)) == 2 and hub.files(repo_id)["README.md"]
