"""The doctor's findings, one by one: packages, machine, folders and Hub."""

import json
import os
import socket
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hf_finemix import doctor
from hf_finemix.doctor import Diagnosis, diagnose, of_extras, of_hub, of_packages
from hf_finemix.doctor_hub import NOT_ASKED, REACHABLE, UNREACHABLE, Hub, ask_hub, shown
from hf_finemix.doctor_machine import accelerators, examine, processor
from hf_finemix.doctor_packages import Package, own_packages, python_package, read_packages

from .faults.disks import unwritable
from .hub import LoopbackHub, connect
from .purified import TOKEN


REQUIREMENTS = [
    "torch>=2.13,<3",
    "transformers<6,>=5.23",
    "safetensors",
    'gradio<7,>=6.31; extra == "ui"',
    'pandas>=2.2; extra == "bench"',
    'pandas>=2.2; extra == "dev"',
    'tomli>=2; python_version < "3"',
]
VERSIONS = {"torch": "2.13.0+cpu", "transformers": "5.22.1", "pandas": "2.1"}


# Packages


def test_packages_are_compared_with_the_metadata():
    needed, extras = read_packages(REQUIREMENTS, ("ui", "bench", "dev"), VERSIONS.get)
    assert needed == (
        Package("torch", "2.13.0+cpu", ">=2.13,<3", True),
        Package("transformers", "5.22.1", ">=5.23,<6", False),
        Package("safetensors", None, "", False),
    )
    assert [(extra.name, extra.installed, extra.command) for extra in extras] == [
        ("ui", False, "pip install 'hf-finemix[ui]'"),
        ("bench", True, "pip install 'hf-finemix[bench]'"),
        ("dev", True, "pip install 'hf-finemix[dev]'"),
    ]
    assert of_packages(needed) == [
        "transformers is 5.22.1, but >=5.23,<6 is needed; pip install 'transformers>=5.23,<6'",
        "safetensors is not installed; pip install 'safetensors'",
    ]
    assert of_extras(extras[:2]) == [
        "pandas is 2.1, but the extra 'bench' needs >=2.2; pip install 'pandas>=2.2'",
    ]


def test_a_release_candidate_of_the_range_fits():
    assert read_packages(["torch>=2.13,<3"], (), {"torch": "2.14.0rc1"}.get)[0][0].fits


def test_own_metadata_name_python_and_torch():
    needed, extras = own_packages()
    found = {package.name: package for package in needed}
    assert found["python"].version == ".".join(map(str, sys.version_info[:3])) and found["python"].fits
    assert found["torch"].version == torch.__version__ and found["torch"].wanted
    assert "wordfreq" in {extra.name for extra in extras}


def test_another_python_is_a_problem():
    package = python_package(">=3.99")
    assert of_packages([package]) == [f"Python is {package.version}, but >=3.99 is needed; use another one."]


def test_a_package_that_is_missing_is_a_problem_and_no_crash(monkeypatch):
    gone = tuple(Package(name, None, ">=1", False) for name in ("torch", "huggingface_hub"))
    monkeypatch.setattr(doctor, "own_packages", lambda: (gone, ()))
    for name in ("accelerators", "_folders", "ask_hub"):
        monkeypatch.setattr(doctor, name, None)
    found = diagnose()
    assert found.problems == (
        "torch is not installed; pip install 'torch>=1'",
        "huggingface_hub is not installed; pip install 'huggingface_hub>=1'",
    )
    assert (found.folders, found.hub, len(found.devices)) == ((), None, 1)


def test_a_torch_that_cannot_be_imported_is_a_problem(monkeypatch):
    def broken():
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(doctor, "accelerators", broken)
    found = diagnose(offline=True)
    assert found.problems == (
        "torch cannot be imported (libcudart.so.13: cannot open shared object file); install it anew.",
    )


def test_a_package_that_is_not_installed_is_a_warning(monkeypatch):
    def missing():
        raise PackageNotFoundError("hf-finemix")

    monkeypatch.setattr(doctor, "own_packages", missing)
    found = diagnose(offline=True)
    assert found.packages == () and "is not installed" in found.warnings[0] and not found.problems


# Machine


def test_processor_says_how_many_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    found = processor()
    assert (found.kind, found.units, found.bf16) == ("cpu", 3, True) and found.memory > 0


def test_graphics_cards_have_names_memory_and_bfloat16(monkeypatch):
    """Doubles of torch's answers; this machine may have none."""
    cards = [
        SimpleNamespace(name="NVIDIA H200", total_memory=150 * 10**9, major=9),
        SimpleNamespace(name="Tesla T4", total_memory=16 * 10**9, major=7),
    ]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", cards.__getitem__)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [(item.kind, item.name, item.memory, item.bf16) for item in accelerators()] == [
        ("cuda", "NVIDIA H200", 150 * 10**9, True),
        ("cuda", "Tesla T4", 16 * 10**9, False),
    ]


# Folders


def test_a_folder_is_measured_and_left_as_it_was(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a").write_bytes(bytes(1000))
    (tmp_path / "b").symlink_to(tmp_path / "blobs" / "a")
    found = examine("HF_HOME", tmp_path)
    assert found.writable and 1000 <= found.size < 2000 and found.free > 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "blobs"]


def test_a_folder_that_is_not_there_yet_is_not_made(tmp_path):
    found = examine("HF_HOME", tmp_path / "not" / "yet")
    assert (found.size, found.writable, found.note) == (0, True, "") and not any(tmp_path.iterdir())


def test_a_disk_that_can_only_be_read(tmp_path):
    with unwritable(tmp_path / "home") as folder:
        found = examine("HF_HOME", folder)
    assert not found.writable and "Read-only file system" in found.note


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        connect(monkeypatch, hub, tmp_path / "home", token=TOKEN)
        yield hub


def test_a_cache_that_cannot_be_written_is_a_problem(hub, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(blocked))
    found = diagnose(offline=True)
    (problem,) = found.problems
    assert problem.startswith(f"{blocked} cannot be written (") and "set HF_HOME to another folder" in problem
    # The other one is not inside it.
    assert [(item.purpose, item.writable) for item in found.folders] == [("HF_HOME", False), ("HF_HUB_CACHE", True)]


def test_little_room_is_a_warning(hub, monkeypatch):
    usage = SimpleNamespace(free=3 * 10**8)
    monkeypatch.setattr("hf_finemix.doctor_machine.shutil.disk_usage", lambda path: usage)
    found = diagnose(offline=True)
    assert not found.problems and f"{found.folders[0].path} has 0.3 GB left." in found.warnings


# Hub


def test_a_hub_that_knows_the_token(hub):
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", True, "me", True)
    # Whether it is there is asked without the token.
    assert [request.path for request in hub.requests] == ["/api/whoami-v2"] * 2
    assert [request.status for request in hub.requests] == [401, 200]


def test_a_hub_without_a_token(hub, monkeypatch, tmp_path):
    connect(monkeypatch, hub, tmp_path / "home")
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", False)


def test_a_token_that_is_not_to_be_sent_is_not(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", True) and len(hub.requests) == 1


def test_a_token_that_the_hub_does_not_take(hub, monkeypatch, tmp_path):
    connect(monkeypatch, hub, tmp_path / "home", token="hf_wrong")
    found = ask_hub()
    assert (found.state, found.has_token, found.user, found.accepted) == (REACHABLE, True, None, False)
    assert of_hub(found) == ["The Hub does not accept your token; run `hf auth login`, or set HF_TOKEN."]


def test_a_hub_that_sends_the_token_back_does_not_get_it_shown(hub):
    hub.fail("GET", "whoami", 401, body=b'{"error": "no"}')
    hub.fail("GET", "whoami", 200, body=json.dumps({"name": f"x{TOKEN}"}).encode())
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", True, None, True)


@pytest.mark.parametrize(
    ("status", "body", "note"),
    [
        (503, b"", "it answers with status 503"),
        (200, b"<p>", "it answers with status 200, but not as the Hub does"),
    ],
)
def test_something_else_that_answers(hub, status, body, note):
    hub.fail("GET", "whoami", status, body=body)
    found = ask_hub()
    assert (found.state, found.note, len(hub.requests)) == (UNREACHABLE, note, 1)


def test_a_cut_connection_after_the_first_answer(hub):
    hub.fail("GET", "whoami", 401, body=b"{}")
    hub.cut("GET", "whoami")
    found = ask_hub()
    assert found.state == REACHABLE and found.note.startswith("it was not told whose the token is: ")


def test_nobody_listens(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connect(monkeypatch, f"http://127.0.0.1:{port}", tmp_path / "home", token=TOKEN)
    found = ask_hub()
    assert (found.state, found.user, found.has_token) == (UNREACHABLE, None, True)
    assert found.note.startswith("ConnectError: ")
    (warning,) = of_hub(found)
    assert f"http://127.0.0.1:{port}" in warning and "local folders and the cache still work" in warning


def test_somebody_listens_and_says_nothing(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path / "home")
        found = ask_hub(patience=0.2)
    assert (found.state, found.note.split(":")[0]) == (UNREACHABLE, "ReadTimeout")


def test_names_that_are_looked_up_forever(monkeypatch, hub):
    import threading

    forever = threading.Event()
    monkeypatch.setattr("hf_finemix.doctor_hub._ask", lambda *arguments: forever.wait())
    monkeypatch.setattr("hf_finemix.doctor_hub._SLACK", 0.1)
    found = ask_hub(patience=0.1)
    forever.set()
    assert (found.state, found.note) == (UNREACHABLE, "TimeoutError: no answer in time")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline_nothing_is_asked(hub, monkeypatch, how):
    if how == "variable":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = ask_hub(offline=how == "option")
    assert found.state == NOT_ASKED and not hub.requests and of_hub(found) == []
    assert ("HF_HUB_OFFLINE" in found.note) == (how == "variable")


@pytest.mark.parametrize(
    ("endpoint", "seen"),
    [
        ("https://huggingface.co", "https://huggingface.co"),
        ("https://me:secret@hub.example:8080/x?key=secret", "https://hub.example:8080/x"),
        ("me:secret@hub.example", "hub.example"),
    ],
)
def test_an_address_is_shown_without_its_secrets(endpoint, seen):
    assert shown(endpoint) == seen


def test_an_address_with_a_secret_that_is_none(monkeypatch, tmp_path):
    connect(monkeypatch, "http://me:sec/ret@127.0.0.1:1", tmp_path / "home")
    found = ask_hub()
    assert found.state == UNREACHABLE and "sec" not in str(found) and "ret" not in str(found)


# All of it


def test_the_whole_diagnosis_is_a_record(hub, monkeypatch):
    monkeypatch.setenv("HF_FINEMIX_TRUSTED_PUBLISHERS", "b, a")
    found = diagnose()
    assert found.problems == () and found.hub.user == "me"
    assert (found.trusted_publishers, found.trusted_from) == (("a", "b"), "HF_FINEMIX_TRUSTED_PUBLISHERS")
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert all({"name", "packages", "command", "installed"} == extra.keys() for extra in data["extras"])
    for extra in data["extras"]:
        del extra["installed"]
    assert Diagnosis.from_dict(data) == found and TOKEN not in str(data)
    assert Path(data["folders"][0]["path"]).name == "home"
