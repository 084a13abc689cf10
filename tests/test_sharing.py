"""FSDP2 and DeepSpeed on the CPU, two processes: the mixed bytes and the figures of plain DDP."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification

from hf_finemix import verify


SCRIPT = Path(__file__).parent / "launched_sharing.py"
# Beside the environment, so that no other test imports it; `make test-slow` puts it there.
DEEPSPEED = Path(sys.prefix) / "deepspeed"
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "BertLayer",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}
ZERO = {"DS_ACCELERATOR": "cpu", "ACCELERATE_USE_DEEPSPEED": "true", "PYTHONPATH": str(DEEPSPEED)}


@pytest.fixture
def train(workplace):
    """Trains in two processes that share the work out in some way; returns what each saw."""

    def run(kind, output, variables=None, *checkpoint):
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(SCRIPT)]
        command += [str(workplace.root), kind, output, *map(str, checkpoint)]
        variables = variables or {"ACCELERATE_USE_CPU": "true"}
        variables = variables | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | variables)
        assert done.returncode == 0, done.stderr
        return [json.loads((workplace.root / f"{output}-{rank}.json").read_text()) for rank in range(2)]

    return run


@pytest.fixture
def compare(workplace):
    """Checks that a run mixed the bytes of a plain one, trained alike, and left a folder that can be verified."""

    def check(output, seen, plain):
        assert seen["processes"] == 2 and seen["mixed"] == plain["mixed"] and seen["counts"] == plain["counts"]
        assert seen["losses"] == pytest.approx(plain["losses"][-len(seen["losses"]) :], abs=1e-5)
        # What cuts the model up cannot train a fresh adapter that is to be merged.
        assert seen["kind"] == "Parameter" or "needs the whole model in each process" in seen["adapter"]
        expected, found = (
            BertForSequenceClassification.from_pretrained(workplace.root / name).state_dict()
            for name in ("plain", output)
        )
        assert all(torch.allclose(expected[name], found[name], atol=1e-6) for name in expected)
        result = verify(workplace.root / output, suspect=workplace.suspect, pretrained=workplace.base)
        assert not result.failed()

    return check


def test_fsdp2_gives_what_plain_processes_give(train, compare):
    plain, _ = train("plain", "plain")
    first, second = train("fsdp2", "fsdp2", FSDP2)
    assert first["kind"] == second["kind"] == "DTensor" and first["here"] == second["here"] > 0
    compare("fsdp2", first, plain)


@pytest.mark.slow
def test_fsdp2_with_the_weights_in_one_process(train, compare):
    plain, _ = train("plain", "plain")
    first, second = train("fsdp2", "fsdp2", FSDP2 | {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"})
    # Where the second has weights to mix, it mixes them, too; what counts is what the first sends it.
    assert first["kind"] == second["kind"] == "DTensor"
    compare("fsdp2", first, plain)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["FULL_STATE_DICT", "SHARDED_STATE_DICT"])
def test_fsdp2_resumed_equals_unbroken(train, compare, workplace, state):
    # PyTorch cannot load the state of an optimizer that has none.
    plain, _ = train("plain", "plain", {"ACCELERATE_USE_CPU": "true", "WITH_ADAM": "1"})
    variables = FSDP2 | {"FSDP_STATE_DICT_TYPE": state, "WITH_ADAM": "1"}
    whole, _ = train("fsdp2", "whole", variables)
    resumed, _ = train("fsdp2", "resumed", variables, workplace.root / "whole" / "checkpoint-2")
    assert resumed["losses"] == whole["losses"][2:]
    if state == "FULL_STATE_DICT":
        compare("resumed", resumed, plain)
    else:
        # `Trainer` saves shares alone, in checkpoints; a card would describe nothing.
        assert "does not hold the model" in resumed["card"]


@pytest.mark.slow
@pytest.mark.skipif(not DEEPSPEED.is_dir(), reason="DeepSpeed is not installed; `make test-slow` does it")
def test_the_stages_of_zero_give_what_plain_processes_give(train, compare):
    plain, _ = train("plain", "plain")
    for kind in ("zero2", "zero3"):
        seen, _ = train(kind, kind, ZERO)
        # ZeRO-3 cuts the parameters up while they are loaded.
        assert (seen["here"] == 0) == (kind == "zero3")
        compare(kind, seen, plain)
    assert "needs the whole model in each process" in seen["adapter"] and "cut up by DeepSpeed" in seen["object"]
