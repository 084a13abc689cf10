"""Several processes that mix one pair of checkpoints together, as torchrun starts them."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from hf_finemix import FineMixConfig, mix_job
from hf_finemix.results import load_report

from .streams import WEIGHTS, leftovers, mix, save_pair


WORK = """
import os, signal, sys, time
from pathlib import Path
from hf_finemix import FineMixConfig, crew, mix_job, mix_run, streaming
from hf_finemix.cli.main import main
mix_job.CHUNK = mix_job.PART = 256
crew._PATIENCE, crew._FAREWELL = 20.0 if sys.argv[3].startswith("kill") else 300.0, 1.0
folder, selection, fault = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
real, count = streaming.OutputFiles.write, iter(range(10**9))
def write(self, number, at, buffer):
    if os.environ["RANK"] == fault[-1] and next(count) == 5:
        if fault.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(28, "No space left on device")
    real(self, number, at, buffer)
streaming.OutputFiles.write = write
arguments = ["mix", str(folder / "suspect"), "--pretrained", str(folder / "base"), "--output", str(folder / "out")]
sys.exit(main([*arguments, "--keep-ratio", "0.3", "--seed", "7", "--selection", selection, "--resume"]))
"""


def launch(folder, ranks, selection="random", fault="none"):
    """Starts processes that meet at a free port; gives the status and the messages of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # The command sets it by itself, but before torch is imported.
    meeting |= {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(folder), selection, fault],
            env=os.environ | meeting | {"RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        messages = [process.communicate(timeout=400)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], messages


@pytest.mark.parametrize(("ranks", "selection"), [(2, "random"), (3, "largest_drift")])
def test_any_number_of_processes_gives_the_same_output(tmp_path, ranks, selection):
    save_pair(tmp_path, max_shard_size="9KB")
    expected = mix(tmp_path, "expected", FineMixConfig(0.3, selection, 7, 0))
    status, messages = launch(tmp_path, ranks, selection)
    assert status == [0] * ranks, messages
    assert leftovers(tmp_path) == {"expected", "out"}
    names = {path.name for path in expected.iterdir()}
    assert names == {path.name for path in (tmp_path / "out").iterdir()} and len(names) > 6
    for name in names:
        # The card tells the folder's name, and the manifest has the sha256 of the card.
        if name not in ("README.md", "finemix_manifest.json"):
            assert (tmp_path / "out" / name).read_bytes() == (expected / name).read_bytes(), name
    assert load_report(tmp_path / "out").mix.kept_share == load_report(expected).mix.kept_share


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_fails_ends_all_with_one_message(tmp_path, rank):
    save_pair(tmp_path)
    status, messages = launch(tmp_path, 2, fault=f"fail-{rank}")
    assert status == [1, 1]
    assert messages[rank] == "hf-finemix mix: failed: [Errno 28] No space left on device\n"
    assert messages[1 - rank] == ""
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_is_missed_and_another_number_goes_on(tmp_path, monkeypatch, rank):
    monkeypatch.setattr(mix_job, "CHUNK", 256)
    monkeypatch.setattr(mix_job, "PART", 256)
    save_pair(tmp_path)
    expected = mix(tmp_path, "expected")
    status, messages = launch(tmp_path, 2, fault=f"kill-{rank}")
    assert status[rank] == -signal.SIGKILL and status[1 - rank] == 1
    assert "is lost" in messages[1 - rank] and messages[1 - rank].count("\n") == 1
    assert "out" not in leftovers(tmp_path)
    assert (mix(tmp_path, resume=True) / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
    assert leftovers(tmp_path) == {"expected", "out"}
