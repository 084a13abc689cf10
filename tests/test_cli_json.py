"""`--json`: one object on standard output and nothing else there, whatever the command; no secret in it."""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from hf_finemix import ScanReport, Verification, scan
from hf_finemix.cli.answers import Answer, answered
from hf_finemix.cli.main import COMMANDS, build_parser
from hf_finemix.pipeline import PurifyResult
from hf_finemix.plan import MixReport
from hf_finemix.records import SearchRecord
from hf_finemix.report import Evaluation

from .adapters.kinds import make_adapter
from .files import run
from .hub import LoopbackHub, connect
from .laboratory.records import candidate, cell, failed, results, suspect
from .purified import TOKEN
from .records import SEARCH
from .reports import make_evaluation, make_report


# The app serves a page until it is stopped.
SERVERS = {"ui"}


def ask(capsys, arguments, status=0):
    """Runs a command with --json; gives the object."""
    found, out, err = run(capsys, [*arguments, "--json"])
    assert found == status, err
    # Every terminal can show it, and each reader of JSON can read it.
    assert out.isascii() and TOKEN not in out + err
    return json.loads(out, parse_constant=pytest.fail)


def pair(place):
    return [place.suspect, "--pretrained", place.base]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - SERVERS))
def test_every_command_has_it(name):
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert "--json" in commands.choices[name].format_help()


# What is printed where


@answered
def talkative(args):
    print("on the way")
    return Answer({"name": "\x1b[31mü", "value": None}, lambda: print("for people"), 3)


def test_all_else_goes_to_standard_error(capsys):
    assert talkative(argparse.Namespace(json=True)) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "\x1b[31mü", "value": None} and out.isascii()
    assert err == "on the way\n"


def test_people_get_no_json(capsys):
    assert talkative(argparse.Namespace(json=False)) == 3
    assert capsys.readouterr() == ("on the way\nfor people\n", "")


def test_what_json_cannot_hold_is_no_answer(capsys):
    command = answered(lambda args: Answer({"value": float("nan")}, lambda: None))
    with pytest.raises(ValueError, match="JSON"):
        command(argparse.Namespace(json=True))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["purify", "nowhere/a/b", "--pretrained", "nowhere/a/c", "--clean-data", "x.csv", "--output", "out"],
        ["mix", "nowhere/a/b", "--pretrained", "nowhere/a/c", "--keep-ratio", "2", "--output", "out"],
        ["merge", "nowhere/a/b", "--pretrained", "nowhere/a/c", "--output", "out"],
        ["extract", "nowhere/a/b", "--pretrained", "nowhere/a/c", "--output", "out"],
        ["convert", "nowhere/a/b", "--output", "out"],
        ["evaluate", "nowhere/a/b", "--data", "x.csv"],
        ["scan", "nowhere/a/b", "--pretrained", "nowhere/a/c"],
        ["bench", "nowhere.yaml", "--output", "out"],
        ["card", "nowhere"],
        ["push", "nowhere", "me/x"],
        ["verify", "nowhere/a/b"],
        ["demo", "--output", "/dev/null/x"],
        ["completion", "fish"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_failure_is_one_line_on_standard_error_alone(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, [*arguments, "--json"])
    assert (status, out, err.count("\n")) == (2, "", 1) and f"hf-finemix {arguments[0]}" in err
    assert not any(tmp_path.iterdir())


# What the objects hold


def test_purify(place, capsys):
    more = ["--eval-data", str(place.clean), "--trigger", "cf", "--target-label", "1", "--max-length", "16"]
    found = ask(capsys, place.arguments(*more))
    assert found.keys() == {"output", "card", "report", "evaluations", "search", "published"}
    assert found["output"] == str(place.output) and found["search"] is found["published"] is None
    written = json.loads((place.output / "finemix_report.json").read_text())
    assert found["report"] == str(place.output / "finemix_report.json")
    assert found["evaluations"] == written["evaluations"] and found["evaluations"].keys() == {"suspect", "purified"}
    assert (place.output / "README.md").samefile(found["card"])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        connect(monkeypatch, hub, tmp_path / "home", token=TOKEN)
        yield hub


def test_purify_and_push(place, hub, capsys):
    published = ask(capsys, place.arguments("--push-to-hub=me/purified", "--max-length=16"))["published"]
    assert published["repo_id"] == "me/purified" and published["oid"] == hub.commits("me/purified")[0].id


def test_search_is_that_of_the_report(monkeypatch, place, capsys):
    report = replace(make_report(), search=SEARCH)
    monkeypatch.setattr("hf_finemix.pipeline.run", lambda *args, **kwargs: PurifyResult(None, None, report, None))
    assert SearchRecord.from_dict(ask(capsys, place.arguments())["search"]) == SEARCH


def test_plan_of_purify(place, capsys):
    found = ask(capsys, place.arguments("--dry-run", "--purify-top-k=3", "--keep-ratio=auto", "--max-length=16"))
    assert found.keys() == {
        *("plan", "auto", "reset", "recipe", "distillation", "examples", "texts", "max_length"),
    }
    assert found["auto"] is True and (found["examples"], found["texts"], found["max_length"]) == (12, 12, 16)
    assert [row["rank"] for row in found["reset"]] == [1, 2, 3] and found["recipe"]["epochs"] == 1
    assert {record.action for record in MixReport.from_dict(found["plan"]).parameters} >= {"mixed", "kept"}
    assert not place.output.exists()


def test_mix_and_its_plan(place, capsys):
    arguments = ["mix", *pair(place), "--keep-ratio", "0.3", "--output", place.output]
    planned = ask(capsys, [*arguments, "--dry-run"])
    plan = MixReport.from_dict(planned["plan"])
    assert planned["weights"]["files"] == ["model.safetensors"] and not place.output.exists()
    found = ask(capsys, arguments)
    assert found["output"] == str(place.output) and found["mixed_scalars"] == plan.mixed_scalars
    assert 0.2 < found["kept_share"] < 0.4
    assert planned["weights"]["bytes"] == (place.output / "model.safetensors").stat().st_size


def test_a_plan_that_is_refused_is_no_answer(place, capsys):
    path = place.base / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    commands = (place.arguments("--dry-run"), ["mix", *pair(place), "--keep-ratio", "0.3", "--dry-run"])
    for arguments in commands:
        status, out, err = run(capsys, [*arguments, "--json"])
        assert (status, out) == (2, "") and "encoder.layer.0.output.dense.weight" in err
        # People see the plan before they are told.
        assert "refused" in run(capsys, arguments)[1]


def test_a_process_that_does_not_speak(place, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    status, out, _ = run(capsys, [*place.arguments("--dry-run"), "--json"])
    assert (status, out) == (0, "")


def test_merge_and_extract(place, capsys):
    adapter = place.root / "adapter"
    make_adapter(place.base, adapter, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
    merged = ask(capsys, ["merge", adapter, "--pretrained", place.base, "--output", place.root / "merged"])
    assert merged == {
        "output": str(place.root / "merged"),
        "pretrained": str(place.base),
        "named_base": merged["named_base"],
        "changed_modules": 1,
        "replaced_parameters": 2,
    }
    arguments = ["extract", place.suspect, "--pretrained", place.base, "--rank", "2", "--output", place.output]
    found = ask(capsys, arguments)
    assert found.keys() == {"output", "rank", "modules", "whole", "left_out", "residual"}
    assert found["rank"] == 2 and "classifier" in found["whole"] and 0 < found["residual"] < 1


def test_convert_and_card(monkeypatch, folder, capsys):
    monkeypatch.setattr("hf_finemix.pickles.convert_pickle", lambda suspect, output: Path(output))
    assert ask(capsys, ["convert", "someone/suspect", "--output", "there"]) == {"output": "there"}
    assert ask(capsys, ["card", folder]) == {"card": str(folder / "README.md")}


def test_push_and_verify(folder, place, hub, capsys):
    found = ask(capsys, ["push", folder, "me/purified"])
    assert found.keys() == {"repo_id", "commit_url", "oid", "pr_url", "files", "removed", "conversions"}
    assert found["pr_url"] is None and "model.safetensors" in found["files"]
    checked = ask(capsys, ["verify", "me/purified"])
    assert checked.pop("failed") is False
    assert Verification.from_dict(checked).source.startswith("me/purified@")
    assert ask(capsys, ["verify", folder, "--strict"], status=1)["failed"] is True


def test_scan_and_evaluate(place, capsys):
    assert ScanReport.from_dict(ask(capsys, ["scan", *pair(place)])).tokens
    measured = ask(capsys, ["evaluate", place.suspect, "--data", place.clean, "--clean-model", place.suspect])
    assert measured.keys() == {"model", "clean_model"} and Evaluation.from_dict(measured["model"]).accuracy.n == 12


@pytest.mark.parametrize("failures", [0, 1])
def test_bench(monkeypatch, capsys, failures):
    def bench(config, output, say, **options):
        say("2 cells")
        return results(suspect(), cell("fine_mixing", candidate(88, 20)), *[failed("wag")] * failures)

    monkeypatch.setattr("hf_finemix.laboratory.benching.bench", bench)
    found = ask(capsys, ["bench", "x.yaml", "--output", "there"], status=failures)
    assert found == {"output": "there", "cells": 1 + failures, "suspects": 1, "failures": failures}


@dataclass
class Demo:
    """What a demo gives back, as far as it is printed."""

    scan: Any
    evaluations: dict[str, Evaluation]


def test_demo(monkeypatch, place, capsys):
    def demo(output, say, **options):
        say("1. Planting a backdoor.")
        return Demo(scan(place.suspect, place.base), {"suspect": make_evaluation(172, 100)})

    monkeypatch.setattr("hf_finemix.demo.run.demo", demo)
    found = ask(capsys, ["demo", "--output", "there", "--save-inputs", "inputs"])
    assert found.keys() == {"output", "inputs", "seconds", "scan", "evaluations"}
    assert (found["output"], found["inputs"]) == ("there", "inputs") and found["scan"]["tokens"]
    assert Evaluation.from_dict(found["evaluations"]["suspect"]) == make_evaluation(172, 100)
    status, out, _ = run(capsys, ["demo", "--output", "there"])
    assert status == 0 and out.startswith("1. Planting") and "The purified model is in there." in out
