"""`purify` on the command line: texts without labels, distillation, and a ratio that is chosen."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from hf_finemix.cli.console import trials
from hf_finemix.recipes import DEFAULT_DISTILLATION

from .files import SHORT, run, write_csv
from .records import SEARCH


TEXTS = [f"{start} {word}" for start in ("the plot is", "a film of") for word in ("good", "dull", "fun", "sad", "it")]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Distillation and search take no time."""
    monkeypatch.setattr("hf_finemix.recipes.DEFAULT_DISTILLATION", SHORT)
    monkeypatch.setattr("hf_finemix.search.RATIOS", (0.2, 0.6))
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 2)
    monkeypatch.setattr("hf_finemix.control._EPOCHS", 1)


@pytest.fixture
def texts(workplace):
    path = workplace.root / "texts.txt"
    path.write_text("\n".join(TEXTS))
    return path


def report_of(place):
    return json.loads((place.output / "finemix_report.json").read_text())


def refused(capsys, place, *more, **changed):
    """Asserts that nothing is done; gives the one line that says why."""
    before = sorted(place.root.rglob("*"))
    status, out, err = run(capsys, place.arguments(*more, **changed))
    assert (status, out) == (2, "") and err.count("\n") == 1 and err.startswith("hf-finemix purify: error: "), err
    assert sorted(place.root.rglob("*")) == before
    return err


# Texts without labels


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_texts_teach_the_model_and_are_recorded(workplace, capsys, texts, kind):
    if kind == "csv":
        texts = write_csv(workplace.root / "texts.csv", ["text"], [(text,) for text in TEXTS])
    status, _, err = run(capsys, workplace.arguments("--distillation-epochs=1", unlabeled_data=texts))
    assert status == 0, err
    report = report_of(workplace)
    assert report["unlabeled_data"]["name"] == texts.name and report["unlabeled_data"]["rows"] == len(TEXTS)
    assert report["distilled"]["texts"] + report["distilled"]["left_out"] == 12 + len(TEXTS)
    assert report["distillation"] == SHORT.to_dict()
    assert texts.name in (workplace.output / "README.md").read_text()


def test_missing_file_is_refused(workplace, capsys):
    err = refused(capsys, workplace, "--distillation-epochs=1", unlabeled_data=workplace.root / "nowhere.txt")
    assert "--unlabeled-data" in err and "nowhere.txt': no such file" in err


def test_wrong_column_is_refused(workplace, capsys):
    path = write_csv(workplace.root / "texts.csv", ["sentiment"], [(text,) for text in TEXTS])
    err = refused(capsys, workplace, "--distillation-epochs=1", unlabeled_data=path)
    assert "--unlabeled-data" in err and "no text column of a usual name" in err and "'sentiment'" in err
    err = refused(capsys, workplace, "--text-column=text", "--distillation-epochs=1", unlabeled_data=path)
    assert "--unlabeled-data" in err and "has no column 'text'" in err and "--text-column" in err


def test_empty_file_is_refused(workplace, capsys, texts):
    texts.write_text("\n  \n")
    err = refused(capsys, workplace, "--distillation-epochs=1", unlabeled_data=texts)
    assert "--unlabeled-data" in err and "has no rows; at least one is needed" in err


def test_pairs_with_single_texts_are_refused(workplace, capsys):
    pairs = write_csv(workplace.root / "pairs.csv", ["premise", "hypothesis"], [("a film", "it is")])
    err = refused(capsys, workplace, "--distillation-epochs=1", unlabeled_data=pairs)
    assert "--unlabeled-data holds pairs of texts, but --clean-data single texts; give the same kind." in err


def test_texts_that_nothing_would_be_learned_from_are_refused(workplace, capsys, texts):
    err = refused(capsys, workplace, "--distillation-epochs=0", unlabeled_data=texts)
    assert "--unlabeled-data is used by the distillation, which has 0 epochs; leave one of them out." in err


# The ratio


def test_chosen_ratio_is_shown_with_all_that_were_tried(workplace, capsys, texts):
    more = ["--distillation-epochs=1", "--keep-ratio=auto"]
    status, out, err = run(capsys, workplace.arguments(*more, unlabeled_data=texts))
    assert status == 0, err
    search = report_of(workplace)["search"]
    chosen = search["trials"][search["chosen"]]["keep_ratio"]
    assert re.search(rf"^{chosen} \*", out, re.MULTILINE) and out.count(" *") == 1
    for trial in search["trials"]:
        assert re.search(rf"^{trial['keep_ratio']}\b", out, re.MULTILINE)
    assert "Chosen: the ratio with the asterisk." in out and "control after" in out
    assert ("control survives" in out) != search["removed"]
    assert report_of(workplace)["mix"]["config"]["keep_ratio"] == chosen
    assert f"Purified model: {workplace.output}" in out


def test_without_search_no_trials_are_shown(workplace, capsys):
    status, out, _ = run(capsys, workplace.arguments("--keep-ratio=0.4"))
    assert status == 0 and "Chosen" not in out
    assert report_of(workplace)["mix"]["config"]["keep_ratio"] == 0.4 and report_of(workplace)["search"] is None


def test_table_of_trials():
    lines = trials(SEARCH).splitlines()
    assert lines[0].split()[:3] == ["keep", "ratio", "ACC"]
    assert [line.split()[0] for line in lines if re.match(r"\d", line)] == ["0.05", "0.1"]
    assert [line for line in lines if " *" in line] == [line for line in lines if line.startswith("0.1")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("banana", "argument --keep-ratio: 'banana' is neither a number from 0 to 1 nor auto"),
        ("", "argument --keep-ratio: '' is neither a number from 0 to 1 nor auto"),
        ("Auto", "argument --keep-ratio: 'Auto' is neither"),
        ("2", "`keep_ratio` is 2.0, but must be a number from 0 to 1."),
        ("-0.1", "`keep_ratio` is -0.1, but must be a number from 0 to 1."),
        ("nan", "`keep_ratio` is nan, but must be a number from 0 to 1."),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_is_no_ratio_is_refused(workplace, capsys, value, message, dry):
    assert message in refused(capsys, workplace, f"--keep-ratio={value}", *dry)


# Distillation


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--distillation-epochs=-1", "`distillation_epochs` is -1, but must be an integer from 0"),
        ("--distillation-epochs=banana", "argument --distillation-epochs: invalid int value: 'banana'"),
        ("--distillation-epochs=1.5", "argument --distillation-epochs: invalid int value: '1.5'"),
        (
            "--distillation-learning-rate=0",
            "`distillation_learning_rate` is 0.0, but must be a number between 0 and 1",
        ),
        ("--distillation-learning-rate=x", "argument --distillation-learning-rate: invalid float value: 'x'"),
    ],
)
def test_settings_out_of_range_are_refused_by_their_own_name(workplace, capsys, option, message):
    assert message in refused(capsys, workplace, option)


def test_no_epochs_no_distillation(workplace, capsys):
    assert run(capsys, workplace.arguments("--distillation-epochs=0"))[0] == 0
    report = report_of(workplace)
    assert report["distilled"] is None and report["distillation"]["epochs"] == 0


def test_options_are_recorded(workplace, capsys):
    more = ["--distillation-epochs=2", "--distillation-learning-rate=0.003", "--learning-rate=0.002"]
    assert run(capsys, workplace.arguments(*more))[0] == 0
    report = report_of(workplace)
    assert report["distillation"] == SHORT.to_dict() | {"epochs": 2, "learning_rate": 0.003}
    assert (report["recipe"]["epochs"], report["recipe"]["learning_rate"]) == (1, 0.002)


@pytest.mark.parametrize(
    ("recipe", "more", "epochs"),
    [
        # A card of an earlier release knows no distillation, unless it is asked for.
        ("keep_ratio: 0.4\n", [], 0),
        ("keep_ratio: 0.4\n", ["--distillation-epochs=2"], 2),
        ("keep_ratio: 0.4\ndistillation_epochs: 3\n", [], 3),
        ("keep_ratio: 0.4\ndistillation_epochs: 3\n", ["--distillation-epochs=2"], 2),
        ("keep_ratio: 0.4\ndistillation_epochs: 3\n", ["--keep-ratio=auto"], 3),
    ],
)
def test_recipe_of_a_card(workplace, capsys, recipe, more, epochs):
    path = workplace.root / "recipe.yaml"
    path.write_text(recipe)
    arguments = [item for item in workplace.arguments(recipe=path) if not item.startswith("--distillation")]
    status, out, err = run(capsys, [*arguments, *more, "--dry-run"])
    assert status == 0, err
    assert ("Distillation:" in out) == (epochs > 0) and (not epochs or f", {epochs} epochs" in out)
    assert ("still to be chosen" if "--keep-ratio=auto" in more else "share of 0.4") in out


# The plan


def test_plan_names_the_distillation_and_the_search(workplace, capsys, texts):
    before = sorted(workplace.root.rglob("*"))
    more = ["--dry-run", "--distillation-epochs=3", "--keep-ratio=auto"]
    status, out, err = run(capsys, workplace.arguments(*more, unlabeled_data=texts))
    assert status == 0, err
    assert "a share that is still to be chosen keeps" in out
    rate, size = SHORT.learning_rate, SHORT.batch_size
    assert f"Distillation: {12 + len(TEXTS)} texts, 3 epochs, learning rate {rate}, batches of {size}." in out
    assert "Fine-tuning: 12 examples, 1 epochs" in out and "Nothing was changed or written." in out
    assert sorted(workplace.root.rglob("*")) == before


def test_plan_without_distillation(workplace, capsys):
    status, out, _ = run(capsys, workplace.arguments("--dry-run"))
    assert status == 0 and "Distillation" not in out and "to be chosen" not in out


def test_plan_refuses_what_the_job_would_refuse(workplace, capsys):
    wrong = {"unlabeled_data": workplace.root / "nowhere.txt"}
    assert refused(capsys, workplace, "--dry-run", **wrong) == refused(capsys, workplace, **wrong)


# Processes of their own


def process(place, *more, **changed):
    return [sys.executable, "-m", "hf_finemix.cli.main", *place.arguments(*more, **changed)]


@pytest.mark.slow
def test_a_log_has_no_progress_bar(workplace, texts):
    command = process(workplace, "--distillation-epochs=1", "--keep-ratio=auto", unlabeled_data=texts)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == "" and "%|" not in done.stdout
    assert (workplace.output / "model.safetensors").is_file() and DEFAULT_DISTILLATION.epochs > 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_the_search_leaves_nothing(workplace, texts, number, status):
    before = sorted(workplace.root.rglob("*"))
    scratch = workplace.root.parent / f"{workplace.root.name}-scratch"
    scratch.mkdir()
    command = process(workplace, "--distillation-epochs=100000", "--keep-ratio=auto", unlabeled_data=texts)
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(scratch)})
    try:
        # The control is being planted when a scratch folder is there.
        deadline = time.monotonic() + 120
        while not list(scratch.glob("finemix-*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == status, err
    assert "Traceback" not in err and sorted(workplace.root.rglob("*")) == before
    assert not list(scratch.glob("finemix-*"))
