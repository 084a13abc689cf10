"""Mixing from disk to disk that is stopped, or meets a full disk or inputs that change: nothing is left."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from hf_finemix import InputError, mix_checkpoints, mix_job, mix_run, streaming

from .models import family, make
from .streams import CONFIG, WEIGHTS, leftovers, mix, save_pair, tensors


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """A pair whose mixing has some hundred parts."""
    monkeypatch.setattr(mix_job, "CHUNK", 256)
    monkeypatch.setattr(mix_job, "PART", 256)
    return save_pair(tmp_path)


def break_off(monkeypatch, after, action):
    """Does something instead of the write that comes after so many others."""
    real, count = streaming.OutputFiles.write, iter(range(10**9))

    def write(self, number, at, buffer):
        if next(count) == after:
            action()
        real(self, number, at, buffer)

    monkeypatch.setattr(streaming.OutputFiles, "write", write)


def fail(error):
    def action():
        raise error

    return action


# What stops a process that can still clean up.


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit(143), OSError(28, "No space left on device")])
@pytest.mark.parametrize("after", [0, 40])
def test_what_stops_it_leaves_nothing(pair, monkeypatch, error, after):
    break_off(monkeypatch, after, fail(error))
    with pytest.raises(error if isinstance(error, type) else type(error)):
        mix(pair, workers=3)
    assert leftovers(pair) == set()


@pytest.fixture
def interruptible():
    """Lets the process be interrupted, even if it was started in the background, where that is turned off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("after", [0, 1, 5, 20])
def test_ctrl_c_in_the_main_thread_ends_the_others(pair, monkeypatch, after):
    break_off(monkeypatch, after, lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.2)))
    with pytest.raises(KeyboardInterrupt):
        mix(pair, workers=2)
    assert leftovers(pair) == set()
    names = ("mixing", "hash", "journal")
    assert not [thread for thread in streaming.threading.enumerate() if thread.name.startswith(names)]


@pytest.mark.parametrize("hashes", [True, False])
def test_a_disk_that_fails_when_data_are_synced(pair, monkeypatch, hashes):
    monkeypatch.setattr(streaming.OutputFiles, "sync", lambda self, numbers: fail(OSError(5, "Input/output error"))())
    with pytest.raises(OSError, match="Input/output error"):
        mix(pair, hashes=hashes)
    assert leftovers(pair) == set()


def test_folders_above_the_output_go_with_it(pair, monkeypatch):
    with monkeypatch.context() as patch:
        break_off(patch, 5, fail(OSError("boom")))
        with pytest.raises(OSError, match="boom"):
            mix(pair, "a/b/out")
    assert leftovers(pair) == set()
    assert (mix(pair, "a/b/out") / WEIGHTS).is_file()


def test_two_processes_do_not_make_one_output(pair, monkeypatch):
    said = []

    def second():
        try:
            mix(pair, resume=True)
        except InputError as error:
            said.append(str(error))

    with monkeypatch.context() as patch:
        break_off(patch, 5, second)
        mix(pair)
    assert len(said) == 1 and "is being made by another process" in said[0]


# Inputs that change, and a disk that is full.


@pytest.mark.parametrize("side", ["suspect", "base"])
@pytest.mark.parametrize("way", ["touch", "truncate", "replace", "remove"])
def test_inputs_that_change_are_noticed(pair, monkeypatch, side, way):
    path = pair / side / WEIGHTS
    content = path.read_bytes()

    def change():
        if way == "touch":
            os.utime(path, ns=(1, 1))
        elif way == "truncate":
            os.truncate(path, len(content) // 2)
        else:
            path.unlink()
            if way == "replace":
                path.write_bytes(content)

    break_off(monkeypatch, 5, change)
    with pytest.raises(InputError, match=r"changed while it was read|was cut off while it was read"):
        mix(pair)
    assert leftovers(pair) == set()


def test_a_truncated_input_is_refused(pair):
    path = pair / "base" / WEIGHTS
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(InputError, match=r"`pretrained` .* has a damaged model.safetensors"):
        mix(pair)
    assert leftovers(pair) == set()


def test_room_on_the_disk_is_checked_first(pair, monkeypatch):
    monkeypatch.setattr("hf_finemix.staging.shutil.disk_usage", lambda path: _Usage())
    with pytest.raises(InputError, match=r"--output .* needs 0.00 GB, but its disk has 0.00 GB left"):
        mix(pair)
    assert leftovers(pair) == set()


class _Usage:
    free = 1000


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_leaves_nothing(pair, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        target = disk / "deep" / "out"
        with pytest.raises(InputError, match="make room"):
            mix_checkpoints(pair / "suspect", pair / "base", target, CONFIG)
        # It may also fill up in the meantime, be it before the weights or after them.
        monkeypatch.setattr(mix_run, "check_space", lambda *arguments: None)
        for taken in (30_000, 8_000):
            (disk / "taken").write_bytes(b"x" * taken)
            with pytest.raises(OSError, match="No space left"):
                mix_checkpoints(pair / "suspect", pair / "base", target, CONFIG)
            assert [path.name for path in disk.iterdir()] == ["taken"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_memory_does_not_grow_with_a_tensor(tmp_path):
    """The largest tensor takes 61 MB twice; the process may take a fraction of that on top of its imports."""
    kind = family("bert")
    kind.config.vocab_size = 1_000_000
    model = make(kind.bare, kind.config, 1)
    model.save_pretrained(tmp_path / "suspect")
    del model
    make(kind.bare, kind.config).save_pretrained(tmp_path / "base")
    code = """
import resource, sys, torch
from pathlib import Path
from hf_finemix import FineMixConfig, mix_checkpoints
import hf_finemix.mix_evidence
def anonymous():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])
peak, before = [0], anonymous()
from hf_finemix import piece_mixing
real = piece_mixing.PieceMixer.__call__
def measured(self, piece):
    peak[0] = max(peak[0], anonymous())
    return real(self, piece)
piece_mixing.PieceMixer.__call__ = measured
folder = Path(sys.argv[1])
mix_checkpoints(folder / "suspect", folder / "base", folder / "out", FineMixConfig(0.3), workers=2)
print(peak[0] - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 30_000, "kilobytes"
    assert tensors(tmp_path / "out")["embeddings.word_embeddings.weight"].dtype == torch.float32
