"""Records on disk: what damaged files cause, and which names of files are taken."""

import re
from dataclasses import replace

import pytest

from hf_finemix import InputError
from hf_finemix.manifest import CardSeal, check_names, load_manifest
from hf_finemix.records import FigureRecord
from hf_finemix.results import load_report
from hf_finemix.serialization import read_json, to_json

from .records import FILE, FULL, MANIFEST, SOURCES


@pytest.mark.parametrize(
    ("read", "name"), [(load_report, "finemix_report.json"), (load_manifest, "finemix_manifest.json")]
)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"report_version": 1, "manifest_version": 1}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"report_version": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda content: str(content[:20]),
)
def test_damaged_file_is_refused(tmp_path, read, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"^'.*{name}' is damaged \(.+\)\.$") as error:
        read(tmp_path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no finemix_report.json; give an output folder of hf-finemix\."):
        load_report(tmp_path / "nowhere")


def test_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "finemix_report.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"is damaged \(it is too large\)"):
        load_report(tmp_path)


def test_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "finemix_report.json").mkdir()
    with pytest.raises(InputError, match="is damaged"):
        load_report(tmp_path)


@pytest.mark.parametrize("name", ["keep_ratio", "learning_rate", "eval_f1", "rank"])
@pytest.mark.parametrize("number", ["1" + "0" * 400, "NaN", "-Infinity", "1" + "0" * 5000])
def test_report_with_a_strange_number_is_damaged(tmp_path, name, number):
    text, count = re.subn(rf'"{name}": [0-9.]+', f'"{name}": {number}', to_json(FULL.to_dict()))
    assert count
    (tmp_path / "finemix_report.json").write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        load_report(tmp_path)


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError])
def test_whatever_a_content_causes_is_damage(tmp_path, error):
    def parse(content):
        raise error

    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match=error.__name__):
        read_json(tmp_path / "a.json", parse)


def test_json_is_readable_and_strict():
    assert to_json({"a": ["ä"]}) == '{\n  "a": [\n    "ä"\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"a": float("nan")})


def files(*names):
    return [replace(FILE, name=name) for name in names]


@pytest.mark.parametrize("name", ["README.md", "a/b.json", ".gitattributes", "a..b", "ä.txt", "with space.txt"])
def test_plain_names_are_taken(name):
    check_names(files(name, "other"))


@pytest.mark.parametrize(
    "name",
    [
        "../x", "/x", "a//b", "a\\b", "C:x", "", "a/", "/", ".", "..", "./x", "a/./b", "a/..", "a/../../x",
        "\\\\server\\x", "a\nb", "a\x00b", "a\x1b[31m", "a\u202eb", "a\u200bb",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="it names the file"):
        check_names(files(name))
    with pytest.raises(ValueError, match="it names the file"):
        replace(SOURCES, files=tuple(files(name)))
    with pytest.raises(ValueError, match="it names the file"):
        replace(MANIFEST, outputs=tuple(files(name)))


def test_name_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="'a/b'"):
        check_names(files("a/b", "c", "a/b"))


@pytest.mark.parametrize("file", ["frontier.png", "figures/frontier.png", "figures/a-b_2.png"])
def test_figure_is_a_picture_of_ours(file):
    assert FigureRecord(file, "", "").file == file


@pytest.mark.parametrize(
    "file",
    [
        "", "a.svg", "a.png.exe", "../a.png", "/a.png", "other/a.png", "figures/../a.png", "figures//a.png", "a b.png",
        "a.png\n", "a\n.png", ".png", "a.PNG", "https://evil.example/a.png", "a).png", "ä.png", "figures\\a.png",
    ],
)  # fmt: skip
def test_other_files_are_no_figures(file):
    with pytest.raises(ValueError, match="no PNG file"):
        FigureRecord(file, "", "")


def test_outputs_stand_in_the_order_of_their_names():
    listed = MANIFEST.with_outputs(files("b", "a/c", "a"), CardSeal((), ""))
    assert [file.name for file in listed.outputs] == ["a", "a/c", "b"]
