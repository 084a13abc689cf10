"""Mixing from disk to disk that is killed at any moment: nothing finished is left, and it can go on."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from hf_finemix import FineMixConfig, InputError, mix_checkpoints, mix_job, piece_mixing
from hf_finemix.safetensors_header import read_file
from hf_finemix.staging import staging_path

from .models import family, make
from .streams import CONFIG, WEIGHTS, leftovers, mix, save_pair


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """A pair whose mixing has some hundred parts."""
    monkeypatch.setattr(mix_job, "CHUNK", 256)
    monkeypatch.setattr(mix_job, "PART", 256)
    return save_pair(tmp_path)


KILLED = """
import os, signal, sys, time
from pathlib import Path
from hf_finemix import FineMixConfig, mix_checkpoints, mix_job, output, streaming
mix_job.CHUNK = mix_job.PART = 256
folder, after, selection, noted = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
journal = folder / ".out.finemix-mix" / "journal-0.jsonl"
count = iter(range(10**9))
def die_at(function):
    def wrapped(*arguments):
        if next(count) == after:
            while noted and journal.read_bytes().count(b"part") < noted:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return wrapped
streaming.OutputFiles.write = die_at(streaming.OutputFiles.write)
os.rename = die_at(os.rename)
os.replace = die_at(os.replace)
config = FineMixConfig(keep_ratio=0.3, selection=selection, seed=7, purify_top_k=0)
mix_checkpoints(folder / "suspect", folder / "base", folder / "out", config, resume=True)
"""


def kill(folder, after, noted=0):
    """Mixes in a process of its own, killed after so many writes and renames and noted parts; gives its status."""
    command = [sys.executable, "-c", KILLED, str(folder), str(after), "random", str(noted)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300).returncode


def looks_finished(folder):
    """Whether anything in a folder, or hidden in it, could be loaded."""
    return any(path.name == "config.json" and path.parent.name == "out" for path in folder.rglob("*")) or any(
        path.name == "out" for path in folder.iterdir()
    )


def test_a_killed_mixing_goes_on_and_gives_the_same_bytes(pair):
    expected = {path.name: path.read_bytes() for path in mix(pair, "expected").iterdir()}
    for after in (3, 60):
        assert kill(pair, after) == -signal.SIGKILL
        assert leftovers(pair) == {"expected", staging_path(pair / "out").name} and not looks_finished(pair)
        weights = staging_path(pair / "out") / "output" / WEIGHTS
        with pytest.raises(InputError, match="damaged"):
            read_file(weights, "it")
    again = mix(pair, resume=True)
    assert leftovers(pair) == {"expected", "out"}
    for name in (WEIGHTS, "config.json", "finemix_report.json"):
        assert (again / name).read_bytes() == expected[name]


def test_what_was_done_is_not_done_again(pair, monkeypatch):
    expected = mix(pair, "expected")
    assert kill(pair, 80, noted=50) == -signal.SIGKILL
    mixed = []
    real = piece_mixing.PieceMixer.__call__
    monkeypatch.setattr(piece_mixing.PieceMixer, "__call__", lambda self, p: mixed.append(p) or real(self, p))
    report = mix_checkpoints(pair / "suspect", pair / "base", pair / "out", CONFIG, resume=True)
    again = len(mixed)
    mixed.clear()
    whole = mix_checkpoints(pair / "suspect", pair / "base", pair / "whole", CONFIG)
    assert 0 < again < len(mixed) - 40 and report == whole
    assert (pair / "out" / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()


def test_without_resume_a_mixing_starts_anew(pair):
    expected = mix(pair, "expected")
    kill(pair, 50)
    weights = staging_path(pair / "out") / "output" / WEIGHTS
    content = weights.read_bytes()
    # Nothing that was left behind may get into the new output.
    weights.write_bytes(bytes(255 - byte for byte in content))
    assert (mix(pair) / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()


def test_other_inputs_or_settings_are_not_gone_on_with(pair):
    kill(pair, 50)
    before = sorted(path for path in staging_path(pair / "out").rglob("*"))
    with pytest.raises(InputError, match=r"--resume: what was left of .* other inputs or settings; leave"):
        mix(pair, config=FineMixConfig(keep_ratio=0.4, purify_top_k=0), resume=True)
    os.utime(pair / "suspect" / WEIGHTS, ns=(1, 1))
    with pytest.raises(InputError, match="other inputs"):
        mix(pair, resume=True)
    # A try with a wrong option does not throw the work away.
    assert sorted(path for path in staging_path(pair / "out").rglob("*")) == before


def test_a_journal_that_lies_about_files_that_are_gone_is_not_believed(pair):
    expected = mix(pair, "expected")
    kill(pair, 80)
    (staging_path(pair / "out") / "output" / WEIGHTS).unlink()
    with (staging_path(pair / "out") / "journal-0.jsonl").open("a") as file:
        file.write('{"part": 3, "kept": {"a"')
    assert (mix(pair, resume=True) / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()


def test_resuming_what_is_finished_says_so(pair):
    config = FineMixConfig(keep_ratio=0.4, purify_top_k=0)
    report = mix_checkpoints(pair / "suspect", pair / "base", pair / "out", config)
    assert mix_checkpoints(pair / "suspect", pair / "base", pair / "out", config, resume=True) == report
    for options in ({"config": CONFIG, "resume": True}, {"config": config}):
        with pytest.raises(InputError, match="already holds something"):
            mix(pair, **options)
    (pair / "other").mkdir()
    (pair / "other" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="already holds something"):
        mix(pair, "other", resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["random", "largest_drift"])
def test_twenty_kills_at_random_moments(tmp_path, monkeypatch, selection):
    """With real signals, at any time: imports, reading, writing, the end."""
    # As in the process that is killed: what it left can only be gone on with if it was cut alike.
    monkeypatch.setattr(mix_job, "CHUNK", 256)
    monkeypatch.setattr(mix_job, "PART", 256)
    kind = family("bert")
    kind.config.vocab_size = 60_000
    make(kind.task, kind.config, 1).save_pretrained(tmp_path / "suspect")
    make(kind.bare, kind.config).save_pretrained(tmp_path / "base")
    config = FineMixConfig(keep_ratio=0.3, selection=selection, seed=7, purify_top_k=0)
    expected = mix(tmp_path, "expected", config)
    command = [sys.executable, "-c", KILLED, str(tmp_path), "-1", selection, "0"]
    start = time.monotonic()
    subprocess.run(command, check=True, timeout=300)
    whole = time.monotonic() - start
    draw = random.Random(0)
    for _ in range(20):
        subprocess.run(["rm", "-rf", str(tmp_path / "out")], check=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.5, 1.0) * whole)
        process.kill()
        process.wait()
        if (tmp_path / "out").exists():
            assert (tmp_path / "out" / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
        out = mix(tmp_path, config=config, resume=True)
        assert (out / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
        assert leftovers(tmp_path) == {"expected", "out"}
