"""Which base a suspect's card names, whose bases pass without a warning, and what is said of others."""

import argparse
import io
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from hf_finemix import InputError
from hf_finemix.card import DefenseCard, render_card
from hf_finemix.cli.arguments import chosen_base
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.results import load_report
from hf_finemix.trust import TRUSTED_PUBLISHERS, VARIABLE, is_trusted, named_base, trusted_publishers

from .files import run
from .hub import LoopbackHub, environment
from .records import FULL


WARNING = "is not on the list of those that the user trusts"


def write_card(place, metadata):
    (place.suspect / "README.md").write_text(f"---\n{metadata}\n---\n# A model\n", encoding="utf-8")


def test_the_list_is_that_of_the_package_or_the_users_own(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert trusted_publishers() == TRUSTED_PUBLISHERS
    assert is_trusted("google-bert/bert-base-uncased") and is_trusted("gpt2")
    assert is_trusted("someone/bert-base-uncased") is False and is_trusted("Google-BERT/x") is False
    assert is_trusted(None) is None
    monkeypatch.setenv(VARIABLE, " someone , me,,")
    assert trusted_publishers() == {"someone", "me"}
    assert is_trusted("someone/x") and is_trusted("google-bert/bert-base-uncased") is False
    monkeypatch.setenv(VARIABLE, "")
    assert not trusted_publishers()


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ("base_model: google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("base_model:\n- org/base", "org/base"),
        ("base_model: bert-base-uncased", "bert-base-uncased"),
    ],
)
def test_the_base_that_a_card_names(place, metadata, name):
    write_card(place, metadata)
    assert named_base(resolve_checkpoint(place.suspect, "SUSPECT")) == name


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("license: mit", "names no base"),
        ("base_model: []", "names no base"),
        ("base_model: {a: b}", "names no base"),
        ("base_model:\n- org/a\n- org/b", "names 2 bases"),
        ("base_model: ../../etc", "no Hub id"),
        ("base_model: a/..", "no Hub id"),
        ("base_model: ./a", "no Hub id"),
        ("base_model: /etc/passwd", "no Hub id"),
        ("base_model: https://evil.example/x", "no Hub id"),
        ("base_model: org/base@main", "no Hub id"),
        ('base_model: "org/\\e[2Jbase"', "no Hub id"),
        ("base_model:\n- 5", "no Hub id"),
        ("base_model: [unclosed", "names no base"),
    ],
)
def test_cards_that_name_none(place, metadata, message):
    write_card(place, metadata)
    with pytest.raises(InputError, match=message) as error:
        named_base(resolve_checkpoint(place.suspect, "SUSPECT"))
    assert "--pretrained" in str(error.value) and str(error.value).isprintable()


def test_a_folder_inside_the_suspect_is_no_base(place, monkeypatch):
    monkeypatch.chdir(place.root)
    (place.suspect / "base").mkdir()
    write_card(place, "base_model: suspect/base")
    with pytest.raises(InputError, match="local folder"):
        named_base(resolve_checkpoint("suspect", "SUSPECT"))


def test_without_a_card_none_is_named(place):
    with pytest.raises(InputError, match="names no base"):
        named_base(resolve_checkpoint(place.suspect, "SUSPECT"))


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        return True


def ask(monkeypatch, place, answer):
    """Gives the base that is chosen after this answer, and what was asked."""
    asked = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", asked)
    args = argparse.Namespace(suspect=str(place.suspect), pretrained="auto", follow_card=False)
    try:
        return chosen_base(args), asked.getvalue()
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_the_user_says_yes(monkeypatch, place, answer):
    write_card(place, "base_model: org/base")
    name, asked = ask(monkeypatch, place, answer)
    assert name == "org/base" and asked == "The suspect's card names org/base as its base. Use it? [y/N] "


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_the_user_says_no(monkeypatch, place, answer):
    write_card(place, "base_model: org/base")
    with pytest.raises(InputError, match="give --pretrained org/base, or --follow-card"):
        ask(monkeypatch, place, answer)


@pytest.mark.parametrize("command", ["scan", "mix", "purify"])
def test_a_card_is_not_followed_unasked(place, capsys, command):
    write_card(place, "base_model: org/base")
    more = {
        "scan": [],
        "mix": ["--keep-ratio", "0.3", "--output", place.output],
        "purify": ["--clean-data", place.clean, "--output", place.output],
    }[command]
    status, out, err = run(capsys, [command, place.suspect, "--pretrained", "auto", *more])
    assert status == 2 and not out and err.count("\n") == 1 and "--pretrained org/base, or --follow-card" in err
    status, _, err = run(capsys, [command, place.suspect, "--pretrained", place.base, "--follow-card", *more])
    assert status == 2 and "needs --pretrained auto" in err and not place.output.exists()


def mix_from_hub(place, *more, **variables):
    """Mixes the suspect with a base on a loopback Hub, in a process of its own."""
    with LoopbackHub() as hub:
        hub.add_model("org/base", place.base)
        command = ["mix", str(place.suspect), "--keep-ratio", "0.3", "--output", str(place.output), *more]
        variables = os.environ | environment(hub, place.root / "home") | variables
        line = [sys.executable, "-m", "hf_finemix.cli.main", *command]
        return subprocess.run(line, env=variables, capture_output=True, text=True, timeout=300, check=False)


def test_a_followed_card_is_warned_of_and_so_is_the_reader_of_the_card(place):
    write_card(place, "base_model: org/base")
    done = mix_from_hub(place, "--pretrained", "auto", "--follow-card")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1 and "warning: the publisher of the base 'org/base' is not among" in done.stderr
    assert load_report(place.output).trusted_base is False
    assert WARNING in (place.output / "README.md").read_text()


def test_a_publisher_on_the_users_list_is_not_warned_of(place):
    done = mix_from_hub(place, "--pretrained", "org/base", **{VARIABLE: "org"})
    assert done.returncode == 0 and not done.stderr
    assert load_report(place.output).trusted_base is True
    assert WARNING not in (place.output / "README.md").read_text()


def test_the_card_of_a_local_base_says_nothing_of_publishers(place, capsys):
    command = ["mix", place.suspect, "--pretrained", place.base, "--keep-ratio", "0.3", "--output", place.output]
    assert run(capsys, command)[0] == 0
    assert load_report(place.output).trusted_base is None and WARNING not in (place.output / "README.md").read_text()


def test_a_report_with_the_warning_is_rendered_with_it():
    assert WARNING in render_card(DefenseCard(replace(FULL, trusted_base=False), "A model"))
    assert WARNING not in render_card(DefenseCard(FULL, "A model"))
