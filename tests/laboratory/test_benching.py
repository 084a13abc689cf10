"""Whole benches in small: what they leave, what they do not do twice, and that nothing stops them for good."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from filelock import FileLock

from hf_finemix import Attack, Defense, InputError, bench, register_attack, register_defense
from hf_finemix.attacks.base import ATTACKS
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.cli.main import main
from hf_finemix.defenses.base import DEFENSES
from hf_finemix.laboratory.executors import Processes
from hf_finemix.laboratory.jobs import open_workshop
from hf_finemix.laboratory.results import Results
from hf_finemix.laboratory.workshop import Workshop


@pytest.fixture(autouse=True)
def fresh_workshops():
    """Each test starts as a process does, with nothing in memory."""
    open_workshop.cache_clear()


def contents(folder: Path) -> dict[str, dict]:
    """The records of a bench without the times that it took."""
    found = {}
    for path in sorted(folder.glob("*/*.json")):
        record = json.loads(path.read_text())
        for item in (record, *record.get("candidates", ())):
            del item["seconds"]
        found[path.name] = record
    return found


def test_a_bench_measures_every_cell(laboratory):
    results = bench(laboratory.write(), laboratory.output)
    assert [(cell.defense, cell.e_pur, len(cell.candidates)) for cell in results.cells] == [
        ("fine_mixing", True, 2),
        ("fine_mixing", False, 2),
        ("none", True, 1),
        ("none", False, 1),
    ]
    (suspect,) = results.suspects
    assert not results.failures
    untouched = results.cells[3]
    # Without a defence and without E-PUR, the cell is the suspect.
    assert untouched.result.evaluation == suspect.evaluation
    assert untouched.result.validation == untouched.reference
    assert [trigger.trigger for trigger in suspect.evaluation.triggers] == ["cf", "mn"]
    assert suspect.baseline.accuracy.n == 20
    assert {rank.frequencies for rank in suspect.ranks} >= {"vocabulary", "clean texts"}
    for cell in results.cells:
        assert cell.outcomes["clean"].count("1") == cell.result.evaluation.accuracy.successes
        for number, trigger in enumerate(cell.result.evaluation.triggers):
            assert cell.outcomes[f"trigger {number}"].count("1") == trigger.asr.successes
            assert len(cell.outcomes[f"trigger {number}"]) == trigger.asr.n


def test_nothing_is_trained_twice(laboratory, trainings):
    bench(laboratory.write(), laboratory.output)
    # One clean model, one suspect, and the two settings of mixing without and with E-PUR on 8 examples.
    assert trainings == [40, 52, 8, 8, 8, 8]
    trainings.clear()
    again = bench(laboratory.write(), laboratory.output)
    assert trainings == []
    assert len(again.cells) == 4


def test_a_clean_start_takes_the_clean_model(laboratory, trainings):
    attacks = [{"name": "word", "label": label, "start": label} for label in ("scratch", "clean")]
    bench(laboratory.write(attacks=attacks, defenses=["none"], e_pur=[False]), laboratory.output)
    assert trainings == [40, 44, 44]


def test_what_is_missing_is_made_again_and_is_the_same(laboratory, trainings):
    bench(laboratory.write(), laboratory.output)
    before = contents(laboratory.output)
    cells = sorted((laboratory.output / "cells").iterdir())
    cells[0].unlink()
    next((laboratory.output / "suspects").iterdir()).unlink()
    open_workshop.cache_clear()
    trainings.clear()
    bench(laboratory.write(), laboratory.output)
    assert contents(laboratory.output) == before
    assert trainings == [8, 8]  # the models were still there


def test_results_do_not_depend_on_the_number_of_processes(laboratory):
    one = bench(laboratory.write(), laboratory.root / "one")
    two = bench(laboratory.write(), laboratory.root / "two", executor=Processes(2))
    assert len(one.cells) == len(two.cells) == 4
    assert contents(laboratory.root / "one") == contents(laboratory.root / "two")


@pytest.mark.parametrize("seconds", [4, pytest.param(9, marks=pytest.mark.slow)])
def test_a_killed_bench_goes_on_where_it_was(laboratory, seconds):
    config = laboratory.write(seeds=[0, 1, 2])
    whole = laboratory.root / "whole"
    bench(config, whole)
    command = [sys.executable, "-m", "hf_finemix.cli.main", "bench", str(config), "--output", str(laboratory.output)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    bench(config, laboratory.output)
    assert contents(laboratory.output) == contents(whole)


def test_a_folder_of_another_configuration(laboratory, trainings):
    bench(laboratory.write(), laboratory.output)
    config = laboratory.write(defenses=["none", "fine_tuning"])
    with pytest.raises(InputError, match="holds the results of another configuration; name a new folder, or add --ex"):
        bench(config, laboratory.output)
    trainings.clear()
    results = bench(config, laboratory.output, extend=True)
    assert trainings == [8, 8]
    assert {cell.defense for cell in results.cells} == {"none", "fine_mixing", "fine_tuning"}
    bench(config, laboratory.output)  # the folder's configuration now


def test_a_folder_that_holds_something_else(laboratory):
    laboratory.output.mkdir()
    (laboratory.output / "thesis.txt").write_text("all my work")
    with pytest.raises(InputError, match="already holds something"):
        bench(laboratory.write(), laboratory.output)
    assert [path.name for path in laboratory.output.iterdir()] == ["thesis.txt"]


def test_two_benches_in_one_folder(laboratory):
    bench(laboratory.write(), laboratory.output)
    with (
        FileLock(laboratory.output / ".lock"),
        pytest.raises(InputError, match="is in use by another bench; wait for it, or stop it"),
    ):
        bench(laboratory.write(), laboratory.output)


def test_too_many_clean_examples_are_refused_before_anything_is_made(laboratory):
    with pytest.raises(InputError, match="`clean_examples` holds 17, but the pool of task 'films' has 16"):
        bench(laboratory.write(clean_examples=[8, 17]), laboratory.output)
    assert not laboratory.output.exists()


def test_a_task_with_too_few_examples_is_refused_before_anything_is_made(laboratory):
    task = laboratory.root / "films.yaml"
    task.write_text(task.read_text().replace("test: 20", "test: 64"))
    with pytest.raises(InputError, match="Task 'films' has 96 examples, but needs more than 96"):
        bench(laboratory.write(), laboratory.output)
    assert not laboratory.output.exists()


@pytest.fixture
def third_party():
    """Registers an attack and two defences of somebody else, and forgets them afterwards."""

    @dataclass(frozen=True)
    class Shout(Attack):
        name: ClassVar[str] = "shout"

        @property
        def triggers(self):
            return (Trigger("CF", self.target_label, "start"),)

    @dataclass(frozen=True)
    class Broken(Defense):
        name: ClassVar[str] = "broken"

        def alter(self, model, view, setting):
            raise ZeroDivisionError("the defence\nfell over")

    @dataclass(frozen=True)
    class Unplantable(Shout):
        name: ClassVar[str] = "unplantable"

        def train(self, model, dataset, view):
            raise RuntimeError("no backdoor")

    register_attack(Shout)
    register_attack(Unplantable)
    register_defense(Broken)
    yield
    for registry, names in ((ATTACKS, ("shout", "unplantable")), (DEFENSES, ("broken",))):
        for name in names:
            del registry._classes[name]


def test_failures_are_recorded_and_stop_nothing(laboratory, third_party):
    config = {"attacks": ["unplantable", "shout"], "defenses": ["broken", "none"], "e_pur": [False]}
    lines = []
    results = bench(laboratory.write(**config), laboratory.output, say=lines.append)
    found = {(cell.attack, cell.defense): cell.error for cell in results.cells}
    assert found == {
        ("shout", "broken"): "the defence fell over",
        ("shout", "none"): None,
        ("unplantable", "broken"): "there is no suspect; its own record says why",
        ("unplantable", "none"): "there is no suspect; its own record says why",
    }
    assert {suspect.attack: suspect.error for suspect in results.suspects} == {
        "unplantable": "no backdoor",
        "shout": None,
    }
    assert len(results.failures) == 4
    assert "failed: films, shout: the defence fell over" in lines


def test_what_failed_is_tried_again(laboratory, third_party, monkeypatch):
    config = laboratory.write(attacks=["shout"], defenses=["broken"], e_pur=[False])
    assert bench(config, laboratory.output).failures
    monkeypatch.setattr(DEFENSES._classes["broken"], "alter", lambda *arguments: None)
    assert not bench(config, laboratory.output).failures


def test_models_that_are_not_needed_any_more_need_not_be_there(laboratory, trainings, monkeypatch):
    bench(laboratory.write(), laboratory.output)
    monkeypatch.setattr(Workshop, "has", lambda self, spec: False)
    trainings.clear()
    bench(laboratory.write(), laboratory.output)
    assert trainings == []


def test_the_command(laboratory, capsys):
    arguments = ["bench", str(laboratory.write(defenses=["none"])), "--output", str(laboratory.output)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 models\n2 cells\n")
    assert f"2 cells of 1 suspects are in {laboratory.output}; 0 failed." in out


def test_the_command_fails_if_a_cell_does(laboratory, third_party):
    config = laboratory.write(attacks=["shout"], defenses=["broken"], e_pur=[False])
    assert main(["bench", str(config), "--output", str(laboratory.output)]) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"attacks": ["wrod"]}, "Unknown attack 'wrod'; did you mean 'word'?"),
        ({"defences": ["none"]}, "unknown field 'defences'; did you mean 'defenses'?"),
    ],
)
def test_the_command_refuses_in_one_line(laboratory, capsys, changed, message):
    config = laboratory.write(**changed)
    assert main(["bench", str(config), "--output", str(laboratory.output)]) == 2
    error = capsys.readouterr().err
    assert error == f"hf-finemix bench: error: '{config}': {message}\n"
    assert not laboratory.output.exists()


def test_workers_must_be_some(laboratory, capsys):
    arguments = ["bench", str(laboratory.write()), "--output", str(laboratory.output), "--workers", "0"]
    assert main(arguments) == 2
    assert "`workers` is 0" in capsys.readouterr().err


def test_the_view_of_pandas(laboratory):
    frame = bench(laboratory.write(), laboratory.output).to_pandas()
    assert len(frame) == 2 * (1 + 2) * 2  # E-PUR, settings of the two defences, triggers
    assert frame.chosen.sum() == 4 * 2
    mixing = frame[(frame.defense == "fine_mixing") & frame.chosen]
    assert set(mixing.setting) <= {"keep_ratio 0.2", "keep_ratio 0.8"}
    assert ((frame.asr_low <= frame.asr) & (frame.asr <= frame.asr_high)).all()
    assert (frame.baseline_asr.notna()).all()


def test_results_are_read_from_a_folder(laboratory):
    results = bench(laboratory.write(), laboratory.output)
    assert Results.load(laboratory.output) == results
    assert results.suspect(results.cells[0]) == results.suspects[0]
    with pytest.raises(InputError, match=r"has no config.json; give the output folder of `hf-finemix bench`"):
        Results.load(laboratory.root)
    path = next((laboratory.output / "cells").iterdir())
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match="is damaged"):
        Results.load(laboratory.output)


def test_a_signal_stops_the_worker_processes_too(laboratory):
    config = laboratory.write(seeds=list(range(20)))
    command = [sys.executable, "-m", "hf_finemix.cli.main", "bench", str(config), "--output", str(laboratory.output)]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (laboratory.output / "models").is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.terminate()
    assert process.wait(timeout=60) == 143
    # The group is soon empty: nobody is left who could be sent a signal.
    deadline = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.2)


def test_the_example_for_contributors_works(laboratory, monkeypatch):
    text = Path(__file__).parents[2].joinpath("docs", "how-to", "attack-defence.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) < 40
    names = {}
    exec(code.replace('if __name__ == "__main__":', "if False:"), names)
    try:
        results = bench(
            laboratory.write(attacks=["ellipsis"], defenses=[{"name": "shrinking", "keep_ratios": [0, 1]}]),
            laboratory.output,
        )
        assert not results.failures
        assert results.suspects[0].evaluation.triggers[0].trigger == "..."
        assert [len(cell.candidates) for cell in results.cells] == [2, 2]
    finally:
        del ATTACKS._classes["ellipsis"], DEFENSES._classes["shrinking"]
