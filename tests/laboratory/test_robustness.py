"""What a second look at the laboratory found: folders, memory, third parties, wrong descriptions, worker processes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock

from hf_finemix import Attack, Defense, InputError, bench, register_attack, register_defense
from hf_finemix.attacks.base import ATTACKS
from hf_finemix.cli.main import main
from hf_finemix.defenses.base import DEFENSES
from hf_finemix.laboratory import workshop
from hf_finemix.laboratory.bench_config import read_bench_config
from hf_finemix.laboratory.jobs import open_workshop
from hf_finemix.tasks.task import load_task

from ..files import write_csv


SMALL = {"defenses": ["none"], "e_pur": [False]}


@pytest.fixture
def registries():
    """Forgets afterwards what a test registered."""
    known = [(registry._classes, dict(registry._classes)) for registry in (ATTACKS, DEFENSES)]
    yield
    for classes, before in known:
        classes.clear()
        classes.update(before)


def change(path, **changed) -> None:
    """Changes single fields of a description."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changed))


def test_a_folder_that_was_deleted_is_made_again_by_the_same_process(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    shutil.rmtree(laboratory.output)
    assert not bench(laboratory.write(**SMALL), laboratory.output).failures


def test_a_task_that_was_changed_is_read_again_by_the_same_process(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    change(laboratory.root / "films.yaml", test=10)
    results = bench(laboratory.write(**SMALL), laboratory.output, extend=True)
    assert {cell.result.evaluation.accuracy.n for cell in results.cells} == {10, 20}


def test_two_different_tasks_of_one_name_as_task_and_as_other_texts(laboratory):
    (laboratory.root / "more").mkdir()
    other = shutil.copy(laboratory.root / "sounds.yaml", laboratory.root / "more" / "films.yaml")
    attack = {"name": "embedding_poisoning", "data": "other"}
    with pytest.raises(InputError, match="Two different tasks are called 'films'"):
        read_bench_config(laboratory.write(attacks=[attack], other_texts=str(other)))


def test_the_folder_of_a_model_is_never_taken(laboratory, capsys):
    config = (laboratory.root / "tiny" / "config.json").read_text()
    arguments = ["bench", str(laboratory.write(**SMALL)), "--output", str(laboratory.root / "tiny"), "--extend"]
    assert main(arguments) == 2
    assert "is no configuration of a bench" in capsys.readouterr().err
    assert (laboratory.root / "tiny" / "config.json").read_text() == config


def test_a_folder_in_use_keeps_its_configuration(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    before = (laboratory.output / "config.json").read_text()
    with FileLock(laboratory.output / ".lock"), pytest.raises(InputError, match="in use by another bench"):
        bench(laboratory.write(**SMALL, margin=0.2), laboratory.output, extend=True)
    assert (laboratory.output / "config.json").read_text() == before


def test_what_a_killed_bench_was_writing_is_removed(laboratory):
    bench(laboratory.write(**SMALL), laboratory.output)
    (laboratory.output / "models" / ".finemix-abcd_123").mkdir()
    (laboratory.output / "cells" / ".finemix-abcd_123").write_text("{")
    bench(laboratory.write(**SMALL), laboratory.output)
    assert not list(laboratory.output.rglob(".finemix-*"))


def test_a_long_label_is_no_long_file_name(laboratory):
    attacks = [{"name": "word", "label": "x" * 300}]
    assert not bench(laboratory.write(**SMALL, attacks=attacks), laboratory.output).failures


def test_longer_inputs_than_the_model_takes_are_cut_in_training_too(laboratory):
    change(laboratory.root / "films.yaml", max_length=1000)
    assert not bench(laboratory.write(**SMALL), laboratory.output).failures


@pytest.mark.parametrize("value", ["soft", np.float32(1), float("nan")])
def test_a_setting_that_cannot_be_kept_is_a_failed_cell(laboratory, registries, value):
    @register_defense
    @dataclass(frozen=True)
    class Odd(Defense):
        name: ClassVar[str] = "odd"

        @property
        def settings(self):
            return ({"x": value},)

    config = laboratory.write(defenses=["odd", "none"], e_pur=[False])
    for _ in range(2):
        results = bench(config, laboratory.output)
        assert {cell.defense: cell.error is None for cell in results.cells} == {"odd": False, "none": True}


def test_a_cell_does_not_depend_on_those_before_it(laboratory, registries):
    @register_defense
    @dataclass(frozen=True)
    class Noise(Defense):
        name: ClassVar[str] = "noise"

        def alter(self, model, view, setting):
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.3)

        def fine_tune(self, model, view, setting):
            pass

    found = []
    for number, first in enumerate(([], ["fine_tuning"])):
        config = laboratory.write(defenses=[*first, "noise"], e_pur=[False])
        results = bench(config, laboratory.root / str(number))
        found.append([cell.outcomes for cell in results.cells if cell.defense == "noise"])
    assert found[0] == found[1]


def test_memory_is_not_shared_by_cells_of_different_recipes(laboratory):
    cells = [read_bench_config(laboratory.write(recipe={"epochs": epochs})).cells()[0] for epochs in (1, 2)]
    shop = open_workshop(laboratory.output)
    shop.memory(cells[0])["seen"] = 1
    assert shop.memory(cells[0]) == {"seen": 1}
    assert shop.memory(cells[1]) == {}


def test_attacks_of_one_label_from_two_configurations(laboratory):
    for words in (["cf"], ["mn", "cf"], ["bb", "cf"]):
        results = bench(
            laboratory.write(**SMALL, attacks=[{"name": "word", "words": words}]), laboratory.output, extend=True
        )
    assert len(results.to_pandas()) == 5
    for cell in results.cells:
        triggers = [
            [item.trigger for item in made.evaluation.triggers] for made in (cell.result, results.suspect(cell))
        ]
        assert triggers[0] == triggers[1]


def test_a_class_of_the_same_name_from_elsewhere_replaces_nothing(registries):
    @dataclass(frozen=True)
    class WordAttack(Attack):
        name: ClassVar[str] = "word"

    WordAttack.__qualname__ = "WordAttack"
    with pytest.raises(InputError, match="`name` 'word' is taken"):
        register_attack(WordAttack)


def test_other_models_are_asked_for_before_anything_is_made(laboratory):
    with pytest.raises(InputError, match="'wag' needs other models than that of the task 'films'; name tasks as"):
        read_bench_config(laboratory.write(defenses=["wag"]))


@pytest.mark.parametrize("changed", [{"others": True, "defenses": ["wag"]}, {"other_texts": True}])
def test_all_texts_are_read_before_anything_is_made(laboratory, changed):
    sounds = str(laboratory.root / "sounds.yaml")
    (laboratory.root / "sounds.csv").unlink()
    attack = {"name": "embedding_poisoning", "data": "other"} if "other_texts" in changed else "word"
    config = {key: sounds if value is True else value for key, value in changed.items()}
    with pytest.raises(InputError, match="no such file"):
        bench(laboratory.write(**config, attacks=[attack]), laboratory.output)
    assert not laboratory.output.exists()


def test_a_missing_clean_model_is_not_made_in_vain_by_each_cell(laboratory, monkeypatch):
    made, train = [], workshop.Workshop._train_clean

    def once(self, spec):
        made.append(spec.task.name)
        if spec.task.name == "sounds":
            raise RuntimeError("no memory")
        return train(self, spec)

    monkeypatch.setattr(workshop.Workshop, "_train_clean", once)
    sounds = str(laboratory.root / "sounds.yaml")
    results = bench(laboratory.write(defenses=["wag"], others=[sounds]), laboratory.output)
    assert made == ["films", "sounds"]
    assert {cell.error for cell in results.cells} == {
        "there is no clean model of task 'sounds', which the defence needs"
    }


def test_the_models_of_a_cell_are_loaded_once(laboratory, monkeypatch):
    others = []
    for number in range(5):
        others.append(str(laboratory.root / f"sounds{number}.yaml"))
        shutil.copy(laboratory.root / "sounds.yaml", others[-1])
    config = laboratory.write(defenses=[{"name": "wag", "keep_ratios": [0.5]}], others=others, clean_examples=[4, 8])
    loaded, load = [], workshop.load_classifier

    def counted(*arguments):
        loaded.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(workshop, "load_classifier", counted)
    assert not bench(config, laboratory.output).failures
    assert len(loaded) <= 6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"recipe": {"frequencies": "vocabluary"}}, "names 'vocabluary'; did you mean 'vocabulary'"),
        ({"attacks": [{"name": "embedding_poisoning", "learning_rate": "1e-2"}]}, "`learning_rate` is '1e-2'"),
        ({"attacks": [{"name": "embedding_poisoning", "learning_rate": float("nan")}]}, "`learning_rate` is nan"),
        ({"defenses": [{"name": "high_rate_fine_tuning", "factors": [float("inf")]}]}, "`factors` is"),
        ({"defenses": [{"name": "high_rate_fine_tuning", "factors": [2, 2]}]}, "names a factor twice"),
        ({"attacks": [{"name": "sentence", "sentence": "\ud800"}]}, "surrogates not allowed"),
        ({"models": ["x" * 5000]}, "File name too long"),
    ],
)
def test_wrong_values(laboratory, changed, message):
    with pytest.raises(InputError, match=message):
        read_bench_config(laboratory.config | changed)


def test_a_field_that_is_there_twice(laboratory):
    path = laboratory.write()
    path.write_text(path.read_text() + "attacks: [sentence]\n")
    with pytest.raises(InputError, match="it holds 'attacks' twice"):
        read_bench_config(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": ["a", "a"]}, "names a label twice"),
        ({"epochs": 0}, "`epochs` is 0"),
        ({"max_length": 1}, "Task 'films': `max_length` is 1"),
        ({"source": {"hub": 3}}, "`hub` of `source` is 3"),
        ({"source": {"train_file": "films.csv", "text_columns": [1]}}, "`text_columns` of `source` is"),
        ({"source": {"reader": "sentiment_sentences", "arguments": 3}}, "`arguments` of `source` is 3"),
        ({"source": {"reader": "sentiment_sentences", "arguments": {"nme": 1}}}, "cannot be read: .* 'nme'"),
    ],
)
def test_wrong_tasks(laboratory, changed, message):
    change(laboratory.root / "films.yaml", **changed)
    with pytest.raises(InputError, match=message):
        bench(laboratory.write(**SMALL), laboratory.output)
    assert not laboratory.output.exists()


def test_a_wrong_learning_rate_of_a_model(laboratory):
    change(laboratory.root / "small.yaml", learning_rate=5)
    with pytest.raises(InputError, match="`learning_rate` is 5"):
        read_bench_config(laboratory.write())


def test_no_example_is_in_two_parts(laboratory):
    rows = [(f"text {number % 60}", ("negative", "positive")[number % 2]) for number in range(96)]
    write_csv(laboratory.root / "films.csv", ["text", "label"], rows)
    change(laboratory.root / "films.yaml", train=8, test=20)
    splits = load_task(str(laboratory.root / "films.yaml")).load()
    parts = [set(part["text"]) for part in (splits.train, splits.test, splits.validation, splits.pool)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60


def test_an_example_of_the_test_file_is_in_no_other_part(laboratory):
    films, sounds = (str(laboratory.root / f"{name}.csv") for name in ("films", "sounds"))
    lines = (laboratory.root / "films.csv").read_text().splitlines(keepends=True)
    with (laboratory.root / "sounds.csv").open("a") as file:
        file.writelines(lines[1:11])
    source = {"train_file": films, "test_file": sounds}
    change(laboratory.root / "films.yaml", source=source, train=90, test=106)
    splits = load_task(str(laboratory.root / "films.yaml")).load()
    assert len(splits.test) == 106
    assert len(splits.train) == 96 - 10 - 32
    change(laboratory.root / "films.yaml", test=107)
    with pytest.raises(InputError, match="has 106 test examples, but `test` is 107"):
        load_task(str(laboratory.root / "films.yaml")).load()


def test_workers_do_not_outlive_a_bench_that_was_killed(laboratory):
    config = laboratory.write(seeds=list(range(20)))
    command = [sys.executable, "-m", "hf_finemix.cli.main", "bench", str(config), "--output", str(laboratory.output)]
    process = subprocess.Popen(
        [*command, "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not (laboratory.output / "models").is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 15
    try:
        with pytest.raises(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(process.pid, 0)
                time.sleep(0.2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert len(json.loads((laboratory.output / "config.json").read_text())["cells"]) == 80
