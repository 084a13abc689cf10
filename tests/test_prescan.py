"""Pickles beside the weights: named with what they would call, and never loaded."""

import json
import pickle
import sys

import numpy as np
import pytest
import torch

from hf_finemix import InputError, scan
from hf_finemix.prescan import StrangeFile, prescan

from .files import run
from .zoo.animals import Payload


@pytest.fixture
def strange(workplace):
    """A suspect with pickles of several kinds beside its weights."""
    folder = workplace.suspect
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "optimizer.pt").write_bytes(pickle.dumps(Payload(workplace.root / "ran")))
    torch.save({"a": torch.zeros(2)}, folder / "pytorch_model.bin")
    torch.save({"a": Payload(workplace.root / "ran")}, folder / "scheduler.pt")
    np.save(folder / "counts.npy", np.zeros(3))
    (folder / "link.pkl").symlink_to(workplace.clean)
    return workplace


def test_what_would_be_called_is_named(strange):
    found = prescan(strange.suspect)
    assert found == (
        StrangeFile("checkpoint-1/optimizer.pt", ("posix.mkdir",), "dangerous"),
        StrangeFile("scheduler.pt", ("posix.mkdir",), "dangerous"),
    )
    assert not (strange.root / "ran").exists()


def test_files_that_are_no_pickles_do_not_end_it(workplace):
    (workplace.suspect / "a.pkl").write_bytes(b"\x80\x05garbage")
    (workplace.suspect / "b.zip").write_bytes(b"PK\x03\x04garbage")
    assert {item.level for item in prescan(workplace.suspect)} <= {"unreadable", "suspicious"}


def test_text_json_and_sarif_tell_of_them(strange, capsys):
    command = ["scan", strange.suspect, "--pretrained", strange.base]
    status, out, err = run(capsys, [*command, "--prescan"])
    assert status == 0 and "checkpoint-1/optimizer.pt" in out and "posix.mkdir" in out, err
    content = json.loads(run(capsys, [*command, "--prescan", "--json"])[1])
    assert [item["name"] for item in content["strange_files"]] == ["checkpoint-1/optimizer.pt", "scheduler.pt"]
    log = json.loads(run(capsys, [*command, "--prescan", "--format", "sarif"])[1])
    results = [item for item in log["runs"][0]["results"] if item["ruleId"] == "strange-pickle"]
    assert len(results) == 2 and results[0]["level"] == "error" and "posix.mkdir" in results[0]["message"]["text"]
    # Not asked for, it says nothing.
    assert json.loads(run(capsys, [*command, "--json"])[1])["strange_files"] is None
    assert "pickle" not in run(capsys, command)[1]


def test_a_folder_without_pickles(workplace, capsys):
    status, out, _ = run(capsys, ["scan", workplace.suspect, "--pretrained", workplace.base, "--prescan"])
    assert status == 0 and "warns of no file" in out
    assert scan(workplace.suspect, workplace.base, prescan=True).strange_files == ()


def test_many_pickles_and_a_missing_scanner_are_refused(workplace, monkeypatch):
    for number in range(1001):
        (workplace.suspect / f"{number}.pkl").touch()
    with pytest.raises(InputError, match="more than 1000 pickles"):
        prescan(workplace.suspect)
    monkeypatch.setitem(sys.modules, "picklescan.scanner", None)
    with pytest.raises(InputError, match=r"install hf-finemix\[prescan\]"):
        prescan(workplace.suspect)
