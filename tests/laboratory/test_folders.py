"""What a bench's folder remembers: its texts and weights, earlier configurations, jobs that were killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hf_finemix import InputError, bench
from hf_finemix.laboratory.results import Results

from ..files import write_csv


SMALL = {"defenses": ["none"], "e_pur": [False]}


def inputs(folder: Path) -> dict[str, dict[str, str]]:
    """What stands in inputs.json, by the readable part of each name."""
    return {name.rpartition("-")[0]: parts for name, parts in json.loads((folder / "inputs.json").read_text()).items()}


def test_texts_and_weights_are_noted_by_their_content(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    found = inputs(laboratory.output)
    assert set(found) == {"films", "small"}
    assert set(found["films"]) == {"train", "test", "validation", "pool", "rest"}
    assert {"config.json", "model.safetensors"} <= set(found["small"])
    assert all(len(digest) == 64 for parts in found.values() for digest in parts.values())
    sounds = [str(laboratory.root / f"{name}.yaml") for name in ("films", "sounds")]
    bench(laboratory.write(**SMALL, tasks=sounds), laboratory.output, extend=True)
    more = inputs(laboratory.output)
    assert set(more) == {"films", "small", "sounds"} and more["films"] == found["films"]
    assert not set(more["films"].values()) & set(more["sounds"].values())


def test_the_same_texts_in_another_file_are_the_same(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    shutil.rmtree(laboratory.output / "cells")
    path = laboratory.root / "films.csv"
    path.write_text(path.read_text().replace("\n", "\r\n"), newline="")
    assert len(bench(laboratory.write(**SMALL), laboratory.output).cells) == 1


def test_other_texts_are_not_mixed_with_earlier_results(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    files = [laboratory.output / name for name in ("inputs.json", "config.json")]
    before = [path.read_text() for path in files]
    lines = (laboratory.root / "films.csv").read_text().splitlines()
    rows = [tuple(line.rsplit(",", 1)) for line in lines[1:]]
    write_csv(laboratory.root / "films.csv", ["text", "label"], [(f"{text} indeed", label) for text, label in rows])
    # Nothing is left to do, so nothing is read.
    assert len(bench(laboratory.write(**SMALL), laboratory.output).cells) == 1
    message = "texts of task 'films' are not those of the results in .* \\(train differs\\); name a new folder"
    with pytest.raises(InputError, match=message):
        bench(laboratory.write(e_pur=[True], defenses=["none"]), laboratory.output, extend=True)
    assert [path.read_text() for path in files] == before
    assert len(list((laboratory.output / "cells").iterdir())) == 1


def test_other_weights_are_not_mixed_with_earlier_results(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    config = laboratory.root / "tiny" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"layer_norm_eps": 1e-3}))
    with pytest.raises(InputError, match=r"files of model 'small' are not those .* \(config.json differs\)"):
        bench(laboratory.write(seeds=[1]), laboratory.output, extend=True)


def test_more_ranks_are_measured_without_training_anything(laboratory, trainings):
    bench(laboratory.write(**SMALL, rank_by=["vocabulary"]), laboratory.output)
    (before,) = Results.load(laboratory.output).suspects
    trainings.clear()
    for sources in (["clean texts"], ["vocabulary"]):
        results = bench(laboratory.write(**SMALL, rank_by=sources), laboratory.output, extend=True)
        (suspect,) = results.suspects
        assert suspect.rank_by == ("vocabulary", "clean texts")
        assert [rank for rank in suspect.ranks if rank.frequencies == "vocabulary"] == list(before.ranks)
        assert suspect.seconds >= before.seconds
    assert trainings == []


def test_a_style_has_no_rank(laboratory):
    (suspect,) = bench(laboratory.write(**SMALL, attacks=["style"]), laboratory.output).suspects
    assert suspect.error is None
    assert suspect.evaluation.triggers[0].trigger == "archaic style"
    assert suspect.ranks == ()


def test_failures_that_nobody_asks_for_any_more_are_forgotten(laboratory):
    # No clean text speaks for the target label in a thousand words.
    attack = {"name": "embedding_surgery", "associated": 1000}
    results = bench(laboratory.write(**SMALL, attacks=[attack]), laboratory.output)
    assert len(results.failures) == 2
    results = bench(laboratory.write(**SMALL), laboratory.output, extend=True)
    assert not results.failures and len(results.cells) == len(results.suspects) == 1


def test_what_is_missing_is_told_by_its_id(laboratory):
    bench(laboratory.write(), laboratory.output)
    cells = sorted((laboratory.output / "cells").iterdir())
    cells[0].unlink()
    shutil.copy(cells[1], laboratory.output / "cells" / "of-an-earlier-configuration.json")
    found = Results.load(laboratory.output)
    assert found.missing == (cells[0].stem,) and len(found.cells) == 4


@pytest.mark.slow
def test_a_cell_whose_process_is_killed_is_recorded_and_stops_nothing(laboratory):
    script = laboratory.root / "script.py"
    script.write_text(
        "import os, signal, sys\n"
        "from dataclasses import dataclass\n"
        "from hf_finemix import Defense, bench, register_defense\n"
        "from hf_finemix.laboratory.executors import Processes\n"
        "@register_defense\n"
        "@dataclass(frozen=True)\n"
        "class Hungry(Defense):\n"
        "    name = 'hungry'\n"
        "    def alter(self, model, view, setting):\n"
        f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "if __name__ == '__main__':\n"
        "    bench(sys.argv[1], sys.argv[2], executor=Processes(2), say=print)\n"
    )
    config = laboratory.write(defenses=["none", "hungry", "fine_tuning"], e_pur=[False])
    command = [sys.executable, str(script), str(config), str(laboratory.output)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    results = Results.load(laboratory.output)
    error = "its process was killed, even when it ran alone (out of memory?)"
    assert {cell.defense: cell.error for cell in results.cells} == {
        "none": None,
        "fine_tuning": None,
        "hungry": error,
    }
    assert f"failed: films, word: {error}" in done.stdout
