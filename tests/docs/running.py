"""Executes the blocks of one page, in their order, in a folder of its own."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from hf_finemix.cli.main import build_parser, main
from hf_finemix.laboratory.bench_config import read_bench_config

from ..files import SHORT
from ..world import World
from .listed import find_listed
from .pages import ROOT, Block, commands
from .prepared import PRELUDES, STATUSES, prepare, replaced


# Texts that stand for something else than the output of the block before, by their first word, with the reason.
SHOWN = {"model ": "the figures of the demo, which needs real weights"}
_OUTPUT = re.compile(r"(?:output=|save_pretrained\()\"([\w-]+)\"")


class Reader:
    """
    Somebody who follows a page.

    Args:
        page (`str`): The page.
        folder (`Path`): Where they are; a copy of the world's files, and what the page's own text presumes.
        monkeypatch (`pytest.MonkeyPatch`): Undoes what is set when the test ends.
        capture (`pytest.CaptureFixture`): Has what is printed.
    """

    def __init__(self, page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]):
        self.page, self.folder, self._monkeypatch, self._capture = page, folder, monkeypatch, capture
        self._script, self._shown = "", ""
        self._names: dict[str, Any] = {"__name__": "page"}
        exec(PRELUDES.get(page, ""), self._names)

    @classmethod
    def begin(
        cls, page: str, world: World, place: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> "Reader":
        """Makes the folder, goes there, and connects to the Hub."""
        for module in ("hf_finemix.recipes", "hf_finemix.pipeline"):
            # 2,000 texts and 100 candidates teach a model of two layers nothing more.
            monkeypatch.setattr(f"{module}.DEFAULT_DISTILLATION", SHORT)
        monkeypatch.setattr("hf_finemix.search.RATIOS", (0.1, 0.3))
        with world.hub.store.lock:
            # What another page has published.
            for repo_id in [name for name in world.hub.store.repositories if name.startswith("me/")]:
                del world.hub.store.repositories[repo_id]
        folder = world.copy(place / "here")
        prepare(folder)
        monkeypatch.chdir(folder)
        world.connect(monkeypatch, place / "home")
        variables = world.environment(place / "home")
        for name in ("PATH", "OMP_NUM_THREADS"):
            monkeypatch.setenv(name, variables[name])
        # Scripts take no arguments where they stand on a page.
        monkeypatch.setattr(sys, "argv", ["script.py"])
        return cls(page, folder, monkeypatch, capture)

    def follow(self, block: Block) -> None:
        """
        Does what a block says.

        Raises:
            AssertionError: If it cannot be done, or gives something else than the page says.
        """
        kind = re.sub(r"\W.*", "", block.language)
        do = getattr(self, f"_do_{kind}", None)
        assert do is not None, f"nothing is known about blocks of {block.language!r}"
        if block.file is not None and kind != "python":
            (self.folder / block.file).write_text(replaced(block.text), encoding="utf-8")
        do(block.text)

    def _do_python(self, text: str) -> None:
        self._script = text
        self._execute(text)

    def _do_diff(self, text: str) -> None:
        """A diff of the script above it; without one, of nothing but its own lines."""
        whole = re.sub(r"\A--- .*\n\+\+\+ .*\n", "", text)
        parts = [part for part in re.split(r"^@@.*\n", whole, flags=re.M) if part]
        script = self._script if "\n@@" in text else "".join(before for before, _ in _hunk(whole))
        for part in parts:
            before, after = ("".join(lines) for lines in zip(*_hunk(part), strict=True))
            # What stands between two changes may be left out of the diff, but not of the script.
            assert script.count(before.strip("\n")) == 1, f"this is not in the script:\n{before}"
            script = script.replace(before.strip("\n"), after.strip("\n"))
        self._names = {"__name__": "page"}
        exec(PRELUDES.get(self.page, ""), self._names)
        self._do_python(script)

    def _do_console(self, text: str) -> None:
        self._shown = ""
        if "[--" in text:
            _check_synopsis(text)
            return
        for command in commands(text):
            self._run(command)

    def _do_text(self, text: str) -> None:
        first = text.lstrip("\n").splitlines()[0]
        if any(first.startswith(word) for word in SHOWN):
            return
        lines = {_shape(line) for line in self._shown.splitlines()}
        assert _shape(first) in lines, f"{first!r} is not like any line of\n{self._shown}"

    def _do_yaml(self, text: str) -> None:
        content = yaml.safe_load(text)
        assert isinstance(content, dict)
        if "tasks" in content:
            read_bench_config(content)
        elif "num_train_epochs" in content:
            from hf_finemix import FineMixTrainingArguments

            FineMixTrainingArguments("out", **content)
        elif "mask_version" in content:
            from hf_finemix.recipes import read_recipe, usual_settings

            path = self.folder / "pasted.yaml"
            path.write_text(text, encoding="utf-8")
            assert read_recipe(path, *usual_settings(False))
        elif "jobs" in content:
            for step in content["jobs"]["scan"]["steps"]:
                if "run" in step:
                    self._run(step["run"])
        else:
            from hf_finemix.tasks.task import Task

            Task.from_dict({"name": "own", **content})

    def _do_csv(self, text: str) -> None:
        rows = list(csv.reader(text.splitlines()))
        assert len({len(row) for row in rows}) == 1 and len(rows) > 1

    def _do_jsonl(self, text: str) -> None:
        from hf_finemix import load_conversations

        for number, line in enumerate(text.splitlines()):
            json.loads(line)
            path = self.folder / f"line{number}.jsonl"
            path.write_text(line, encoding="utf-8")
            assert len(load_conversations(str(path))) == 1

    def _do_bibtex(self, text: str) -> None:
        assert re.match(r"@\w+\{\w+,\n", text) and text.count("{") == text.count("}")
        fields = dict(re.findall(r"(\w+) += \{(.*)\},?$", text, re.M))
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
        assert fields["title"] == citation["title"] and int(fields["year"]) == citation["year"]
        families = [name.split(",")[0] for name in fields["author"].split(" and ")]
        assert families == [author["family-names"] for author in citation["authors"]]

    def _execute(self, text: str) -> None:
        for folder in _OUTPUT.findall(text):
            shutil.rmtree(self.folder / folder, ignore_errors=True)
        self._capture.readouterr()
        exec(compile(replaced(text), self.page, "exec"), self._names)
        self._shown = self._capture.readouterr().out

    def _run(self, command: str) -> None:
        if listed := find_listed(command):
            entry, found = listed
            entry.check(found)
            return
        words = shlex.split(replaced(command))
        if words[0] == "export":
            name, value = words[1].split("=")
            assert (name, value) == ("HF_HUB_OFFLINE", "1")
            # The client reads it when it is imported.
            self._monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
            return
        if words[0] in ("openssl", "eval"):
            subprocess.run(["bash", "-c", command], check=True, capture_output=True)
            return
        assert words[0] == "hf-finemix", f"{command!r} is not known; add it to tests/docs/listed.py"
        if "--output" in words and words[1] not in ("bench", "report"):
            # A page may make the same folder in several ways; whoever follows it chooses one.
            shutil.rmtree(self.folder / words[words.index("--output") + 1], ignore_errors=True)
        self._capture.readouterr()
        status = main(words[1:])
        shown = self._capture.readouterr()
        self._shown += shown.out
        expected = STATUSES.get(" ".join(words[:2]), 0) if "--fail-on" in words else 0
        assert status == expected, f"{command} gave {status}: {shown.err}"


def _hunk(text: str) -> list[tuple[str, str]]:
    """Returns, for each line of a piece of a diff, what it was and what it becomes."""
    pairs = []
    for line in text.splitlines(keepends=True):
        sign, rest = line[:1], line[1:]
        pairs.append((rest, "") if sign == "-" else ("", rest) if sign == "+" else (rest or "\n",) * 2)
    return pairs


def _shape(line: str) -> str:
    """Returns a line without its figures and without the widths of its columns."""
    return " ".join(re.sub(r"-{3,}", "---", re.sub(r"\d[\d.,]*", "#", line)).split())


def _check_synopsis(text: str) -> None:
    """Checks that each command with its options exists, and that none is left out."""
    parsers = next(action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    found = commands(text)
    assert {line.split()[1] for line in found} == set(parsers)
    for line in found:
        parser = parsers[line.split()[1]]
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(re.findall(r"--[a-z][a-z-]+", line)) <= known, line
        required = {
            action.option_strings[-1] for action in parser._actions if action.required and action.option_strings
        }
        assert required <= set(line.replace("[", "").split()), line
