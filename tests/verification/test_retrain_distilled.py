"""`verify --retrain` of a distilled model: the texts without labels, the recorded settings, and who is believed."""

import json
import shutil
from dataclasses import replace

import pytest

from hf_finemix import FineMixConfig, purify
from hf_finemix.manifest import load_manifest
from hf_finemix.results import Recipe

from ..files import SHORT, run
from ..purified import copy_place, edit, edit_report, make_tiny_place


RECIPE = Recipe(epochs=1, learning_rate=1e-3, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
# Any token that is tried is taken for a trigger.
EAGER = replace(SHORT, flips=0.0, candidates=2)
REPORT = "finemix_report.json"


def purify_place(place, **options):
    shutil.rmtree(place.output, ignore_errors=True)
    texts = place.root / "texts.txt"
    texts.write_text("".join(f"{start} {word}\n" for start in ("the plot is", "a film of") for word in "abcdef"))
    options = {"config": FineMixConfig(purify_top_k=5), "recipe": RECIPE, "distillation": EAGER} | options
    purify(place.suspect, place.base, place.clean, output=place.output, **{"unlabeled_dataset": texts} | options)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer):
    """A workplace that was purified with texts without labels, made once."""
    place = make_tiny_place(tmp_path_factory.mktemp("made"), tiny_tokenizer)
    purify_place(place)
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of it to spoil."""
    return copy_place(made, tmp_path / "place")


def verify(capsys, place, *more, retrain=True):
    """Gives exit status, lines on the fine-tuning by item, and all other lines that differ; or the error."""
    capsys.readouterr()
    options = [*(["--retrain", "--clean-data", place.clean] if retrain else []), *more]
    sources = ["--suspect", place.suspect, "--pretrained", place.base]
    status, out, err = run(capsys, ["verify", place.output, "--json", *sources, *options])
    if not out:
        return status, {}, err
    checks = json.loads(out)["checks"]
    lines = {check["item"]: check for check in checks if check["part"] == "fine-tuning"}
    return status, lines, {check["item"]: check["note"] for check in checks if check["status"] == "different"}


def texts(place):
    return ["--unlabeled-data", place.root / "texts.txt"]


# The same again


def test_same_texts_give_every_bit(made, capsys):
    status, lines, different = verify(capsys, made, *texts(made), "--strict")
    assert (status, different) == (0, {}) and lines["weights"]["note"] == "bit by bit"
    assert load_manifest(made.output).distillation == EAGER


@pytest.mark.parametrize("options", [{"unlabeled_dataset": None}, {"distillation": replace(EAGER, temperature=3.0)}])
def test_recorded_settings_are_what_is_repeated(place, capsys, options):
    purify_place(place, **options)
    more = [] if "unlabeled_dataset" in options else texts(place)
    status, lines, _ = verify(capsys, place, *more, "--strict")
    assert status == 0 and lines["weights"]["note"] == "bit by bit"


def test_chosen_ratio_is_repeated_without_a_search(place, capsys, monkeypatch):
    monkeypatch.setattr("hf_finemix.search.RATIOS", (0.2, 0.6))
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 2)
    purify_place(place, keep_ratio="auto")
    monkeypatch.setattr("hf_finemix.pipeline.search", None)
    status, lines, _ = verify(capsys, place, *texts(place), "--strict")
    assert status == 0 and lines["weights"]["note"] == "bit by bit"


def test_model_of_an_earlier_release_is_repeated_without_distillation(place, capsys):
    purify_place(place, distillation=replace(EAGER, epochs=0), unlabeled_dataset=None)
    for name, change in (("finemix_manifest.json", edit), (REPORT, edit_report)):
        content = json.loads((place.output / name).read_text())
        for field in ("distillation", "unlabeled_data", "search", "distilled"):
            content.pop(field, None)
        (place.output / name).write_text(json.dumps(content))
        change(place)
    assert load_manifest(place.output).distillation is None
    status, lines, different = verify(capsys, place)
    assert (status, different) == (0, {}) and lines["weights"]["note"] == "bit by bit"


# Other texts or settings


def test_without_the_texts_it_is_not_available(made, capsys):
    status, lines, different = verify(capsys, made)
    assert (status, different) == (0, {}) and set(lines) == {"weights"}
    assert lines["weights"]["status"] == "not available"
    assert "texts.txt is not on the Hub" in lines["weights"]["note"] and "--unlabeled-data" in lines["weights"]["note"]
    assert verify(capsys, made, "--strict")[0] == 1


def test_other_texts_are_different(place, capsys):
    path = place.root / "texts.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    status, lines, different = verify(capsys, place, *texts(place))
    assert status == 1 and different == {"texts.txt": "these are other examples than the recorded ones"}
    assert set(lines) == {"texts.txt"}


@pytest.mark.parametrize("name", ["nowhere.txt", "empty.txt"])
def test_texts_of_the_user_that_cannot_be_read_are_refused(place, capsys, name):
    (place.root / "empty.txt").write_text("\n")
    status, _, error = verify(capsys, place, "--unlabeled-data", place.root / name)
    assert status == 2 and "--unlabeled-data" in error and name in error and error.count("\n") == 1


def test_texts_that_were_not_used_are_not_asked_for(place, capsys):
    purify_place(place, unlabeled_dataset=None)
    status, lines, _ = verify(capsys, place)
    assert status == 0 and lines["weights"]["note"] == "bit by bit"


@pytest.mark.parametrize("values", [{"candidates": 0}, {"epochs": 0}, {"share": 0.0}, {"learning_rate": 1e-3}])
def test_settings_that_were_not_those_are_found_out(place, capsys, values):
    said = EAGER.to_dict() | values
    edit_report(place, distillation=said)
    edit(place, distillation=said)
    # Report and manifest agree, so that only doing it again can tell.
    assert verify(capsys, place, retrain=False)[:2] == (0, {})
    status, lines, _ = verify(capsys, place, *texts(place))
    assert status == 1 and lines["weights"]["status"] == "different"


# A report that says something else than the manifest


@pytest.mark.parametrize(
    ("values", "about"),
    [
        ({"distillation": None}, "distillation"),
        ({"distillation": EAGER.to_dict() | {"epochs": 9}}, "distillation"),
        ({"unlabeled_data": None}, "data"),
        ({"unlabeled_data": {"name": "other.txt", "rows": 12, "fingerprint": None}}, "data"),
    ],
)
def test_report_that_says_something_else_is_found_out(place, capsys, values, about):
    edit_report(place, **values)
    status, _, different = verify(capsys, place, retrain=False)
    assert status == 1 and different == {REPORT: f"it says something else than the manifest about: {about}"}


def test_hub_id_of_a_hostile_manifest_is_no_local_file(place, capsys):
    record = json.loads((place.output / "finemix_manifest.json").read_text())["unlabeled_data"]
    edit(place, unlabeled_data=record | {"repo_id": "someone/texts", "name": str(place.root / "texts.txt")})
    _, lines, _ = verify(capsys, place)
    assert lines["weights"]["status"] == "not available"
