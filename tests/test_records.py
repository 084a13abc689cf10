"""Records: what goes into JSON comes out the same, and what a stranger put there is refused."""

import json
from dataclasses import MISSING, fields, is_dataclass
from typing import get_args, get_type_hints

import pytest

from hf_finemix.manifest import Manifest
from hf_finemix.rates import Rate
from hf_finemix.results import PurificationReport
from hf_finemix.serialization import to_json

from .records import FULL, MANIFEST, RECORDS


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
        ("report", ("search", "trials", 0)),
        ("report", ("distilled", "triggers", 0)),
        ("report", ("distilled", "rows", 0)),
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


@pytest.mark.parametrize("chosen", [-1, 2])
def test_search_that_chose_no_trial_of_its_own_is_refused(chosen):
    assert refused(FULL, change(FULL, ("search", "chosen"), chosen)) is True


@pytest.mark.parametrize(("name", "wrong"), [("temperature", 0), ("share", 1.5), ("epochs", -1), ("batch_size", 0)])
@pytest.mark.parametrize("record", [FULL, MANIFEST])
def test_distillation_that_cannot_be_is_refused(record, name, wrong):
    assert refused(record, change(record, ("distillation", name), wrong)) is True


def test_files_of_earlier_releases_are_read():
    # Neither of them knew a distillation, a search or texts without labels.
    later = ("search", "distillation", "distilled", "unlabeled_data")
    for record in (FULL, MANIFEST):
        content = {name: value for name, value in through_json(record).items() if name not in later}
        again = type(record).from_dict(content)
        assert {getattr(again, name, None) for name in later} == {None}
        assert again.clean_data == record.clean_data


def test_number_that_no_float_can_hold_is_refused(record):
    accepted = []
    for path, _, _, value in located_fields(record):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            answer = refused(record, change(record, path, 10**400))
            accepted += [] if answer is True else [(path, answer)]
    assert accepted == []
