"""Texts of which a defender knows no label: where they come from, who gets them, and how results remember them."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from hf_finemix import Defense, InputError, bench, register_defense
from hf_finemix.defenses import distilled
from hf_finemix.defenses.base import DEFENSES
from hf_finemix.laboratory.jobs import open_workshop
from hf_finemix.tasks.task import load_task

from ..files import SHORT


TRIGGERS = {"cf", "mn"}
QUICK = {"epochs": 1, "candidates": 3, "unlabeled": 6}


@pytest.fixture(autouse=True)
def fresh_workshops():
    open_workshop.cache_clear()


@pytest.fixture
def films(laboratory):
    """96 sentences, of which 4 are in no other part."""
    return load_task(str(laboratory.root / "films.yaml"))


def texts(*parts):
    return [text for part in parts for text in part["text"]]


# Where they come from


def test_no_example_is_lost_or_in_two_parts(films):
    splits = films.load()
    found = texts(splits.train, splits.test, splits.validation, splits.pool, splits.rest)
    assert len(found) == len(set(found)) == 96 and len(splits.rest) == 4


def test_all_train_and_no_rest(films):
    splits = replace(films, train=44).load()
    assert len(splits.train) == 44 and len(splits.rest) == 0
    assert splits.rest.column_names == splits.train.column_names
    assert len(replace(films, train=1000).load().rest) == 0
    assert texts(splits.unlabeled(100, 8, 0)) == texts(films.load().unlabeled(12 - 4, 8, 0))


@pytest.mark.parametrize(("size", "seed"), [(1, 0), (8, 0), (8, 3), (15, 1), (16, 0)])
def test_they_are_what_the_defender_has_no_label_of(films, size, seed):
    splits = films.load()
    found = splits.unlabeled(100, size, seed)
    clean = splits.clean(size, seed)
    assert found.column_names == ["text"]
    assert set(texts(found)) == (set(texts(splits.pool)) - set(texts(clean))) | set(texts(splits.rest))
    assert len(found) == len(set(texts(found))) == 16 - size + 4
    others = texts(splits.train, splits.test, splits.validation, clean)
    assert not set(texts(found)) & set(others)


def test_as_many_as_are_asked_for_the_same_every_time(films):
    splits = films.load()
    found = texts(splits.unlabeled(100, 8, 2))
    assert texts(splits.unlabeled(5, 8, 2)) == found[:5] and texts(splits.unlabeled(0, 8, 2)) == []
    assert texts(films.load().unlabeled(100, 8, 2)) == found != texts(splits.unlabeled(100, 8, 3))


@pytest.mark.parametrize("name", ["movies", "amazon"])
def test_real_tasks_have_hundreds(name):
    task = load_task(name)
    splits = task.load()
    found = splits.unlabeled(1000, 64, 0)
    assert len(found) >= task.pool - 64
    assert not set(texts(found)) & set(texts(splits.train, splits.test, splits.validation, splits.clean(64, 0)))


# Who gets them


@pytest.fixture
def views(monkeypatch):
    """The views of a defence that looks at them and does nothing."""
    seen = []
    monkeypatch.setattr(DEFENSES, "_classes", dict(DEFENSES._classes))

    @register_defense
    @dataclass(frozen=True)
    class Looking(Defense):
        name: ClassVar[str] = "looking"

        def apply(self, model, view, setting, e_pur):
            seen.append(view)

    return seen


def test_every_defence_gets_them_without_labels(laboratory, films, views):
    results = bench(laboratory.write(defenses=["looking"], e_pur=[False]), laboratory.output)
    assert not results.failures
    (view,) = views
    splits = films.load()
    assert view.unlabeled.column_names == ["text"] and texts(view.unlabeled) == texts(splits.unlabeled(99, 8, 0))
    assert not set(texts(view.unlabeled)) & set(texts(view.clean, splits.train, splits.test, splits.validation))
    assert not any(TRIGGERS & set(text.split()) for text in texts(view.unlabeled, view.clean))
    assert view.frequencies.shape == view.scores.shape and (np.diff(view.frequencies[10:20]) <= 0).all()


def test_no_more_than_a_fixed_number(laboratory, views, monkeypatch):
    monkeypatch.setattr("hf_finemix.laboratory.jobs._MOST_UNLABELED", 3)
    bench(laboratory.write(defenses=["looking"], e_pur=[False]), laboratory.output)
    assert len(views[0].unlabeled) == 3


def test_the_defence_that_chooses_by_itself_is_told_no_trigger(laboratory, monkeypatch):
    asked = []

    def search(*args):
        asked.append(args)
        return found(*args)

    found = distilled.search
    monkeypatch.setattr(distilled, "search", search)
    monkeypatch.setattr(distilled, "DEFAULT_DISTILLATION", SHORT)
    monkeypatch.setattr("hf_finemix.search.RATIOS", (0.2, 0.6))
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 2)
    defenses = [{"name": "automatic", **QUICK}, {"name": "distilled_mixing", "keep_ratios": [0.2, 0.6], **QUICK}]
    results = bench(laboratory.write(defenses=defenses, e_pur=[True]), laboratory.output)
    assert not results.failures
    automatic, mixing = results.cells
    ((_, materials, config, recipe, distillation),) = asked
    given = texts(materials.clean, materials.unlabeled)
    assert not any(TRIGGERS & set(text.split()) for text in given) and len(materials.unlabeled) == 6
    said = repr((config, recipe, distillation))
    assert not any(f"'{word}'" in said for word in TRIGGERS)
    # It has one setting, and its figures are those of one of the ratios that the other tried.
    (only,) = automatic.candidates
    assert only.evaluation in [candidate.evaluation for candidate in mixing.candidates] and len(mixing.candidates) == 2


# How results remember them


def test_results_from_before_there_were_any_are_taken_up(laboratory):
    small = {"defenses": ["none"], "e_pur": [False]}
    bench(laboratory.write(**small), laboratory.output)
    path = laboratory.output / "inputs.json"
    noted = path.read_text()
    earlier = {
        name: {part: digest for part, digest in parts.items() if part != "rest"}
        for name, parts in json.loads(noted).items()
    }
    path.write_text(json.dumps(earlier))
    assert len(bench(laboratory.write(e_pur=[True], defenses=["none"]), laboratory.output, extend=True).cells) == 2
    assert json.loads(path.read_text()) == json.loads(noted)


def test_other_texts_without_labels_are_not_mixed_with_earlier_results(laboratory):
    bench(laboratory.write(defenses=["none"], e_pur=[False]), laboratory.output)
    path = laboratory.output / "inputs.json"
    noted = json.loads(path.read_text())
    for parts in noted.values():
        parts.update({part: "0" * 64 for part in parts if part == "rest"})
    path.write_text(json.dumps(noted))
    message = r"texts of task 'films' are not those of the results in .* \(rest differs\); name a new folder"
    with pytest.raises(InputError, match=message):
        bench(laboratory.write(e_pur=[True], defenses=["none"]), laboratory.output, extend=True)
