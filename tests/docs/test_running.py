"""A page that is wrong fails: what `running` and `pages` would not let through."""

import pytest

from .listed import find_listed
from .pages import Block, commands
from .running import Reader


@pytest.fixture
def reader(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return Reader("docs/page.md", tmp_path, monkeypatch, capsys)


def block(language, text, file=None):
    return Block("docs/page.md", 1, language, text, file)


@pytest.mark.parametrize(
    ("language", "text", "message"),
    [
        ("", "whatever\n", "nothing is known about blocks of ''"),
        ("ruby", "puts 1\n", "nothing is known about blocks of 'ruby'"),
        ("console", "rm everything\n", "'rm everything' is not known"),
        ("console", "hf-finemix scan suspect --pretrained base\n", "gave 2"),
        ("console", "hf-finemix scan [--nonsense]\n", ""),
        ("console", "pip install hf-finemix[nonsense]\n", "nonsense"),
        ("console", "make nonsense\n", "nonsense"),
        ("text", "never printed\n", "'never printed' is not like any line"),
        ("diff", "-a = 1\n+a = 2\n@@\n-b = 1\n+b = 2\n", "this is not in the script"),
        ("csv", "text,label\nfine\n", ""),
        ("bibtex", "@misc{a,\n  title = {Another},\n}\n", ""),
    ],
)
def test_refused(reader, language, text, message):
    with pytest.raises((AssertionError, KeyError)) as error:
        reader.follow(block(language, text))
    assert message in str(error.value)


def test_python_fails_as_it_does(reader):
    with pytest.raises(ZeroDivisionError):
        reader.follow(block("python", "1 / 0\n"))


def test_a_page_is_one_script(reader):
    reader.follow(block("python", "a = 20\nprint(f'a is {a}.5 %')\n"))
    reader.follow(block("text", "a is 99.9 %\n"))
    reader.follow(block("python", "assert a == 20\n"))


def test_a_diff_changes_the_script_above_it(reader):
    reader.follow(block("python", "a = 1\n\n\nb = 1\nprint(a, b, 'in all')\n"))
    reader.follow(block("diff", "-a = 1\n+a = 3\n@@\n b = 1\n-print(a, b, 'in all')\n+print(a, b)\n+c = 4\n"))
    reader.follow(block("python", "assert (a, b, c) == (3, 1, 4)\n"))


def test_a_named_block_is_a_file(reader, tmp_path):
    reader.follow(block("csv", "text,label\nfine,positive\n", "own.csv"))
    assert (tmp_path / "own.csv").read_text() == "text,label\nfine,positive\n"


def test_commands_go_on_and_lose_remarks():
    text = "a b \\\n    --c d  # remark\n# remark\n\ne 'f#g'\n"
    assert commands(text) == ["a b  --c d", "e 'f#g'"]


def test_what_is_not_listed_is_run():
    assert find_listed("hf-finemix scan suspect --pretrained base") is None
    assert find_listed("pip install something-else") is None
    assert find_listed("make test; rm everything") is None
