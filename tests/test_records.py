"""Records: what goes into JSON comes out the same, and what a stranger put there is refused."""

import hashlib
import json
import re
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from hf_finemix import InputError
from hf_finemix.hashes import FileRecord, TensorRecord, describe_files, describe_tensors, sha256_file, sha256_tensor
from hf_finemix.manifest import CardSeal, Manifest, SourceRecord, check_names, load_manifest
from hf_finemix.modeling import PurifyReport
from hf_finemix.rates import Rate
from hf_finemix.records import AdapterRecord, ControlRecord, FigureRecord
from hf_finemix.results import DataRecord, PurificationReport, load_report
from hf_finemix.serialization import read_json, to_json
from hf_finemix.verification import SAME, Check

from .reports import COMMIT, make_report


FILE = FileRecord("model.safetensors", 5, "a" * 64)
TENSOR = TensorRecord("bert.a", "float32", (10, 10), "b" * 64)
BARE = PurificationReport("suspect", "base", "BertModel", {}, make_report().mix, PurifyReport(False))
FULL = replace(
    make_report(),
    training={"seed": 5, "optim": "adamw_torch", "lr_scheduler_kwargs": {"a": [1, 2.5, None, True]}},
    metrics={"eval_f1": 0.5, "eval_loss": 2.0},
    clean_data=DataRecord("org/data:train", 64, "f" * 64, "org/data", ("premise", "hypothesis"), "label"),
    shared_examples=3,
    licenses={"suspect": "mit", "pretrained": None},
    control=ControlRecord("mn", Rate(99, 100), Rate(0, 0)),
    frontier=FigureRecord("figures/frontier.png", "a curve", "All recipes"),
    adapter=AdapterRecord("LoRA", 8, ("query", "value")),
)
SOURCES = SourceRecord("org/base", "org/base", COMMIT, (FILE, FileRecord("sub/vocab.txt", 7, "c" * 64)))
MANIFEST = Manifest.of(FULL, SourceRecord("folder"), SOURCES, (TENSOR,), "vocabulary")
RECORDS = {
    "report": FULL,
    "bare report": BARE,
    "manifest": MANIFEST.with_outputs([FILE], CardSeal(("license", "tags"), "d" * 64)),
    "bare manifest": Manifest.of(BARE, SourceRecord("suspect"), SourceRecord("base"), (), None),
    "tensor": TENSOR,
    "scalar tensor": TensorRecord("scale", "bfloat16", (), "b" * 64),
    "check": Check("output", "config.json", SAME),
}


@pytest.fixture(params=RECORDS)
def record(request):
    return RECORDS[request.param]


def through_json(record):
    return json.loads(to_json(record.to_dict()))


def test_record_goes_round(record):
    again = type(record).from_dict(through_json(record))
    assert again == record
    # Lists would be equal to no tuple, but 1 is equal to 1.0 and `True`.
    assert repr(again) == repr(record)
    assert to_json(again.to_dict()) == to_json(record.to_dict())


def test_full_report_leaves_nothing_out():
    assert not [item.name for item in fields(FULL) if getattr(FULL, item.name) in (None, (), {}, "", 0)]


def places(value, path=()):
    """Each dataclass inside of a record, and where it stands in the record's JSON."""
    if is_dataclass(value):
        yield path, value
        for item in fields(value):
            inputs = ("inputs",) if isinstance(value, Manifest) and item.name in ("suspect", "pretrained") else ()
            yield from places(getattr(value, item.name), (*path, *inputs, item.name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, str(key)))


def located_fields(record):
    """Each field inside of a record: its path in the JSON, its declaration, its type and its value."""
    for path, part in places(record):
        hints = get_type_hints(type(part))
        for item in fields(part):
            inputs = ("inputs",) if isinstance(part, Manifest) and item.name in ("suspect", "pretrained") else ()
            yield (*path, *inputs, item.name), item, hints[item.name], getattr(part, item.name)


def change(record, path, value):
    """The record's JSON with another value at a place; with `MISSING`, without that place."""
    content = through_json(record)
    part = content
    for step in path[:-1]:
        part = part[step]
    if value is MISSING:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return content


def refused(record, content):
    try:
        type(record).from_dict(content)
    except (TypeError, ValueError):
        return True
    except Exception as error:
        return type(error).__name__
    return False


def wrong_values(value, hint):
    """Values of other types than a field's, as JSON may hold them."""
    # A list of lists and a dictionary of dictionaries are of no type of ours.
    wrong = [[[1]], {"wrong": {"wrong": 1}}]
    if type(None) not in get_args(hint):
        wrong.append(None)
    if isinstance(value, bool):
        return [*wrong, 1, "x"]
    if isinstance(value, int):
        return [*wrong, 1.5, "1", True]
    if isinstance(value, float):
        return [*wrong, "0.5", True]
    if isinstance(value, str):
        return [*wrong, 5, True]
    return wrong if value is None else [*wrong, 5, "x", True]


def test_value_of_a_wrong_type_is_refused(record):
    accepted = []
    for path, item, hint, value in located_fields(record):
        # Training arguments are settings of another library, whatever they are.
        for wrong in wrong_values(value, hint) if item.name != "training" else (5, "x", [1]):
            answer = refused(record, change(record, path, wrong))
            accepted += [] if answer is True else [(path, wrong, answer)]
    assert accepted == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("report", ("labels", "0")),
        ("report", ("licenses", "suspect")),
        ("report", ("environment", "torch")),
        ("report", ("metrics", "eval_f1")),
        ("report", ("adapter", "modules", 0)),
        ("report", ("clean_data", "text_columns", 0)),
        ("report", ("mix", "parameters", 0, "shape", 0)),
        ("report", ("purify", "tokens", 0)),
        ("report", ("evaluations", "suspect")),
        ("report", ("evaluations", "suspect", "triggers", 0)),
        ("manifest", ("purified_rows", 0)),
        ("manifest", ("mixed_tensors", 0)),
        ("manifest", ("mixed_tensors", 0, "shape", 0)),
        ("manifest", ("outputs", 0)),
        ("manifest", ("card", "keys", 0)),
    ],
)
@pytest.mark.parametrize("wrong", [True, [[1]], {"wrong": 1}])
def test_item_of_a_wrong_type_is_refused(name, path, wrong):
    assert refused(RECORDS[name], change(RECORDS[name], path, wrong)) is True


def test_integer_is_a_fair_value_for_a_float():
    again = PurificationReport.from_dict(change(FULL, ("metrics", "eval_f1"), 1))
    assert again.metrics["eval_f1"] == 1


def test_missing_field_is_refused(record):
    accepted = []
    for path, item, *_ in located_fields(record):
        if item.default is MISSING and item.default_factory is MISSING:
            answer = refused(record, change(record, path, MISSING))
            accepted += [] if answer is True else [(path, answer)]
    assert accepted == []


def test_missing_optional_field_takes_its_default(record):
    for item in fields(record):
        content = record.to_dict()
        if item.default is not MISSING:
            del content[item.name]
            assert getattr(type(record).from_dict(content), item.name) == item.default


def test_unknown_field_is_refused(record):
    accepted = []
    for path, part in places(record):
        answer = refused(record, change(record, (*path, "unknown"), 1))
        accepted += [] if answer is True else [(path, type(part).__name__, answer)]
    assert accepted == []


@pytest.mark.parametrize("content", [None, 5, "text", [], [1], {}, True])
def test_what_is_no_record_is_refused(record, content):
    assert refused(record, content) is True


@pytest.mark.parametrize(("name", "key"), [("report", "report_version"), ("manifest", "manifest_version")])
@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_version_is_refused(name, key, version):
    record = RECORDS[name]
    with pytest.raises(ValueError, match="this release reads version 1"):
        type(record).from_dict(through_json(record) | {key: version})


def test_manifest_needs_its_inputs():
    content = through_json(MANIFEST)
    del content["inputs"]
    assert refused(MANIFEST, content) is True


@pytest.mark.parametrize("key", ["architecture", "outputs", "mixed_tensors"])
def test_inputs_stand_for_nothing_else(key):
    # Whoever reads the manifest elsewhere would see another value than we do.
    content = through_json(MANIFEST)
    content["inputs"][key] = content[key]
    assert refused(MANIFEST, content) is True


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "os; print"},
        {"made_by": "somebody"},
        {"labels": {"one": "positive"}},
        {"evaluations": through_json(FULL)["evaluations"] | {"clean model": {"accuracy": Rate(1, 2).to_dict()}}},
    ],
)
def test_report_that_makes_no_sense_is_refused(change):
    assert refused(FULL, through_json(FULL) | change) is True


def test_number_that_no_float_can_hold_is_refused(record):
    accepted = []
    for path, _, _, value in located_fields(record):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            answer = refused(record, change(record, path, 10**400))
            accepted += [] if answer is True else [(path, answer)]
    assert accepted == []


# Files


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


# Hashes


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("dtype", "content"),
    [
        (torch.float32, np.array([1.5, -2, 0], "<f4").tobytes()),
        (torch.float16, np.array([1.5, -2, 0], "<f2").tobytes()),
        # The upper half of a float32.
        (torch.bfloat16, bytes.fromhex("c03f00c00000")),
        (torch.float64, np.array([1.5, -2, 0], "<f8").tobytes()),
    ],
)
def test_hash_of_a_tensor_is_that_of_its_bytes(dtype, content):
    tensor = torch.tensor([1.5, -2, 0], dtype=dtype)
    assert sha256_tensor(tensor) == sha256(content)
    assert sha256_tensor(torch.nn.Parameter(tensor)) == sha256(content)
    assert sha256_tensor(tensor.reshape(3, 1)) == sha256(content)


@pytest.mark.parametrize(
    ("tensor", "content"),
    [
        (torch.tensor([1, -1]), np.array([1, -1], "<i8").tobytes()),
        (torch.tensor([True, False]), b"\x01\x00"),
        (torch.tensor(7, dtype=torch.int32), b"\x07\x00\x00\x00"),
        (torch.empty(0), b""),
        (torch.empty(3, 0, dtype=torch.bfloat16), b""),
    ],
    ids=["int64", "bool", "zero-dimensional", "empty", "empty bfloat16"],
)
def test_hash_of_other_tensors(tensor, content):
    assert sha256_tensor(tensor) == sha256(content)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.T,
        lambda t: t[:, 1],
        lambda t: t[::2],
        lambda t: t[1:],
        lambda t: t[0].expand(5, 3),
        lambda t: t.flip(0),
    ],
    ids=["transposed", "column", "stepped", "offset", "expanded", "flipped"],
)
def test_hash_goes_in_row_major_order(view):
    tensor = view(torch.arange(12, dtype=torch.float32).reshape(4, 3))
    assert sha256_tensor(tensor) == sha256(np.array(tensor.tolist(), "<f4").tobytes())


def test_hash_tells_zero_from_minus_zero():
    assert sha256_tensor(torch.tensor(0.0)) != sha256_tensor(torch.tensor(-0.0))


def test_tensors_are_described_in_the_given_order():
    tensors = [("b", torch.ones(2, 3, dtype=torch.bfloat16)), ("a", torch.tensor(1.0)), ("c", torch.empty(0, 2))]
    described = describe_tensors(tensors)
    assert [(item.name, item.dtype, item.shape) for item in described] == [
        ("b", "bfloat16", (2, 3)),
        ("a", "float32", ()),
        ("c", "float32", (0, 2)),
    ]
    assert [item.sha256 for item in described] == [sha256_tensor(tensor) for _, tensor in tensors]


def test_files_are_described_in_the_order_of_their_names(tmp_path):
    (tmp_path / "sub").mkdir()
    contents = {"b.txt": b"b", "a.txt": b"", "sub/c.bin": bytes(5_000_000), "B.txt": b"B"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    described = describe_files(tmp_path, iter(contents))
    assert [item.name for item in described] == ["B.txt", "a.txt", "b.txt", "sub/c.bin"]
    assert all(
        (item.size, item.sha256) == (len(contents[item.name]), sha256(contents[item.name])) for item in described
    )
    assert sha256_file(tmp_path / "sub/c.bin") == sha256(bytes(5_000_000))


def test_outputs_stand_in_the_order_of_their_names():
    listed = MANIFEST.with_outputs(files("b", "a/c", "a"), CardSeal((), ""))
    assert [file.name for file in listed.outputs] == ["a", "a/c", "b"]
