"""Parameters that processes share, as FSDP2 cuts them up: the same bytes as whole ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .models import family, make


SCRIPT = Path(__file__).parent / "launched_shards.py"
# Rows of the vocabulary of suspect and base; 49 and 53 do not divide among two.
SIZES = {"bert": (49, 49), "gpt2": (48, 48), "more": (53, 48), "fewer": (48, 60)}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("shards")
    for name, sizes in SIZES.items():
        for place, size, seed in zip(("suspect", "base"), sizes, (1, 0), strict=True):
            kind = family("gpt2" if name == "gpt2" else "bert")
            kind.config.vocab_size = size
            make(kind.task if seed else kind.bare, kind.config, seed).save_pretrained(folder / name / place)
    command = [sys.executable, str(SCRIPT), str(folder), "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("selection", ["random", "smallest_drift"])
@pytest.mark.parametrize("shard", ["shard_rows", "shard_columns"])
@pytest.mark.parametrize("name", SIZES)
def test_sharded_parameters_are_mixed_like_whole_ones(seen, name, shard, selection):
    for rank in seen:
        found = rank[f"{name} {shard} {selection}"]
        assert rank["processes"] == 2 and 0.2 < found.pop("kept") < 0.4
        assert all(found.values()), found


def test_damage_in_one_share_stops_all(seen):
    for rank in seen:
        assert rank["damaged"] == "`model` holds NaN or infinity in NAME; its weights are damaged."
