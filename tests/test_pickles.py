"""Pickled weights: converted by a process that may do nothing else, or refused; never a line of theirs runs."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_finemix import InputError
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.model_loading import load_classifier
from hf_finemix.pickles import convert_pickle

from .files import run
from .zoo.animals import Payload


@pytest.fixture
def pickled(workplace):
    """A suspect whose weights are a pickle, and these weights."""
    path = workplace.suspect / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    torch.save(tensors, workplace.suspect / "pytorch_model.bin")
    return tensors


def test_weights_come_through_bit_for_bit(workplace, pickled, capsys):
    status, out, err = run(capsys, ["convert", workplace.suspect, "--output", workplace.output])
    assert status == 0 and "as suspect as before" in out, err
    assert sorted(os.listdir(workplace.output)) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    found = load_file(workplace.output / "model.safetensors")
    assert found.keys() == pickled.keys() and all(torch.equal(found[name], pickled[name]) for name in found)
    load_classifier(resolve_checkpoint(workplace.output, "SUSPECT"), "SUSPECT")


def test_shards_and_tied_tensors(workplace, pickled):
    (workplace.suspect / "pytorch_model.bin").unlink()
    names = sorted(pickled)
    first, second = names[:9], names[9:]
    shards = {"pytorch_model-00001-of-00002.bin": first, "pytorch_model-00002-of-00002.bin": second}
    for name, part in shards.items():
        # Tensors of one storage, as tied ones are, and one that is no contiguous part of it.
        tensors = {key: pickled[key] for key in part} | {f"{part[0]}.tied": pickled[part[0]]}
        torch.save(tensors | {f"{part[0]}.view": pickled[names[-1]].t()}, workplace.suspect / name)
    weights = {key: name for name, part in shards.items() for key in part}
    (workplace.suspect / "pytorch_model.bin.index.json").write_text(str({"weight_map": weights}).replace("'", '"'))
    convert_pickle(workplace.suspect, workplace.output)
    found = resolve_checkpoint(workplace.output, "SUSPECT")
    assert [path.name for path in found.weights] == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    tensors = load_file(found.weights[0]) | load_file(found.weights[1])
    assert all(torch.equal(tensors[name], pickled[name]) for name in pickled)


def refused(workplace, *words):
    before = sorted(workplace.root.iterdir())
    with pytest.raises(InputError) as error:
        convert_pickle(workplace.suspect, workplace.output)
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)
    assert sorted(workplace.root.iterdir()) == before


def test_code_in_a_pickle_never_runs(workplace, pickled):
    marker = workplace.root / "ran"
    path = workplace.suspect / "pytorch_model.bin"
    torch.save(pickled | {"evil": Payload(marker)}, path)
    refused(workplace, "is no plain pickle of tensors", "UnpicklingError")
    for protocol in (0, 5):
        path.write_bytes(pickle.dumps(Payload(marker), protocol))
        refused(workplace, "is no plain pickle of tensors")
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(1)],
        {},
        {"a": 1},
        {1: torch.zeros(1)},
        {"a": {"b": torch.zeros(1)}},
        {"a": torch.eye(2).to_sparse()},
    ],
    ids=["list", "empty", "number", "key", "nested", "sparse"],
)
def test_what_is_no_tensors_by_name_is_refused(workplace, pickled, content):
    torch.save(content, workplace.suspect / "pytorch_model.bin")
    refused(workplace, "ValueError")


def test_damage_and_links_are_refused(workplace, pickled):
    path = workplace.suspect / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-500])
    refused(workplace, "is no plain pickle of tensors")
    path.unlink()
    refused(workplace, "there is nothing to convert")
    os.symlink(workplace.clean, path)
    refused(workplace, "a link to a place outside its folder")
    path.unlink()
    (workplace.suspect / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../x.bin"}}')
    refused(workplace, "names no shards")


ATTEMPTS = (
    "os.mkdir('new')",
    "os.system('true')",
    "subprocess.run(['true'])",
    "socket.socket().connect(('127.0.0.1', 9))",
    "open('new', 'w')",
    "os.open('new', os.O_CREAT | os.O_RDWR)",
    "os.fork()",
    "os.remove(sys.argv[1])",
    "ctypes.CDLL(None)",
    "os.execv('/bin/true', ['true'])",
)
# Each attempt in a process of its own, of which the import is the longest part.
PROGRAM = """
import ctypes, os, socket, subprocess, sys
from pathlib import Path
from hf_finemix.pickle_reader import fence

for attempt in sys.argv[3:]:
    child = os.fork()
    if not child:
        fence(Path(sys.argv[1]), Path(sys.argv[2]))
        open(sys.argv[2], "w").close()
        exec(attempt)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), attempt, flush=True)
"""


def test_the_fence_holds_by_itself(tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"x")
    command = [sys.executable, "-c", PROGRAM, str(source), str(output), *ATTEMPTS, "open(sys.argv[1]).read()"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    # The last one is what a reader may do.
    ends = [f"3 {attempt}" for attempt in ATTEMPTS] + ["0 open(sys.argv[1]).read()"]
    assert done.stdout.splitlines() == ends, done.stderr
    assert done.stderr.count("it tried ") == len(ATTEMPTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_the_process_sees_nothing_of_the_users_environment(workplace, pickled, monkeypatch):
    seen = {}
    real = subprocess.run

    def watch(command, **options):
        seen.update(options["env"])
        return real(command, **options)

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(subprocess, "run", watch)
    convert_pickle(workplace.suspect, workplace.output)
    assert set(seen) == {"PYTHONPATH", "OMP_NUM_THREADS", "PATH"} and "hf_secret" not in str(seen)
    assert Path(seen["PYTHONPATH"]).is_dir()
