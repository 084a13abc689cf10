"""What the doctor finds on the machine: packages, devices and folders."""

import json
import os
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hf_finemix import doctor
from hf_finemix.doctor import Diagnosis, diagnose, of_extras, of_packages
from hf_finemix.doctor_machine import Folder, accelerators, examine, processor
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
    for name in ("accelerators", "_folders", "ask_hub", "problem_of_client"):
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


@pytest.mark.parametrize("problem", ["", "huggingface_hub cannot be imported (no); install it anew."])
def test_packages_without_which_the_trusted_publishers_are_unknown(monkeypatch, problem):
    monkeypatch.setitem(sys.modules, "hf_finemix.trust", None)
    monkeypatch.setattr(doctor, "problem_of_client", lambda: problem)
    found = diagnose(offline=True)
    assert (found.trusted_publishers, found.trusted_from) == ((), "")
    # A reason that is told is not told twice.
    (said,) = found.problems
    assert said.startswith(problem or "A package that is needed cannot be imported (import of ")
    assert (found.hub is None) == bool(problem) and found.packages and len(found.devices) >= 1


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


@pytest.mark.parametrize(
    ("name", "note"), [("a" * 300, "File name too long"), ("file/home", "Not a directory")], ids=["long", "below"]
)
def test_a_folder_that_cannot_be_looked_at(tmp_path, name, note):
    (tmp_path / "file").touch()
    path = tmp_path / name
    assert examine("HF_HOME", path) == Folder("HF_HOME", str(path), 0, None, False, note)


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
