"""A purification before it begins: texts without labels, and what is refused before anything is changed."""

import copy

import pytest
from datasets import Dataset
from safetensors.torch import load_file, save_file

from hf_finemix import FineMixConfig, InputError, purify
from hf_finemix.data import fingerprint
from hf_finemix.job import check_texts, prepare, rows_to_reset
from hf_finemix.recipes import DEFAULT_CONFIG, NO_DISTILLATION
from hf_finemix.results import Recipe

from .files import write_csv


TEXTS = ["a film of good music", "the scene is slow", "the ending is sad"]
RECIPE = Recipe(epochs=1, learning_rate=1e-4, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)


def prepared(place, unlabeled, **options):
    return prepare(place.suspect, place.base, place.clean, unlabeled_dataset=unlabeled, **options)


@pytest.fixture
def lines(workplace):
    """A file with one text a line."""
    path = workplace.root / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


def test_settings_are_those_of_purify_by_default(workplace):
    assert prepare(workplace.suspect, workplace.base, workplace.clean).config == DEFAULT_CONFIG
    config = FineMixConfig(keep_ratio=0.7)
    assert prepare(workplace.suspect, workplace.base, workplace.clean, config=config).config == config


# Texts without labels


def test_texts_are_loaded_and_recorded(workplace, lines):
    job = prepared(workplace, lines)
    assert job.unlabeled.to_dict() == {"text": TEXTS}
    record = job.records[2]
    assert (record.name, record.rows, record.repo_id, record.label_column) == ("texts.txt", 3, None, None)
    assert record.fingerprint == fingerprint(job.unlabeled)


def test_without_texts_nothing_is_recorded(workplace):
    job = prepare(workplace.suspect, workplace.base, workplace.clean)
    assert job.unlabeled is None and job.records[1:] == (None, None)


@pytest.mark.parametrize("kind", ["csv", "object", "with labels"])
def test_the_same_texts_in_another_form(workplace, lines, kind):
    path = workplace.root / "texts.csv"
    if kind == "with labels":
        # Nobody looks at them.
        data = write_csv(path, ["text", "label"], [(text, "who knows") for text in TEXTS])
    elif kind == "csv":
        data = write_csv(path, ["text"], [(text,) for text in TEXTS])
    else:
        data = Dataset.from_dict({"text": TEXTS})
    one, other = prepared(workplace, lines), prepared(workplace, data)
    assert one.unlabeled.to_dict() == other.unlabeled.to_dict()
    assert one.records[2].fingerprint == other.records[2].fingerprint


def test_named_columns_are_those_of_both_but_a_text_file_has_none(workplace, lines):
    rows = [line.rsplit(",", 1) for line in workplace.clean.read_text().splitlines()[1:]]
    clean = write_csv(workplace.root / "reviews.csv", ["review", "label"], rows)
    other = write_csv(workplace.root / "more.csv", ["id", "review"], [(1, text) for text in TEXTS])
    for data in (lines, other):
        job = prepare(workplace.suspect, workplace.base, clean, unlabeled_dataset=data, text_columns=["review"])
        assert job.unlabeled.to_dict() == {"text": TEXTS}


@pytest.fixture
def pairs(workplace):
    rows = [("the movie is good", "it is fun", 1), ("the movie is bad", "it is fun", 0)] * 2
    return write_csv(workplace.root / "pairs.csv", ["premise", "hypothesis", "label"], rows)


def test_pairs_go_with_pairs(workplace, pairs):
    more = write_csv(workplace.root / "more.csv", ["premise", "hypothesis"], [("a film", "it is")])
    job = prepare(workplace.suspect, workplace.base, pairs, unlabeled_dataset=more)
    assert job.unlabeled.to_dict() == {"text": ["a film"], "text_pair": ["it is"]}


@pytest.mark.parametrize("columns", [None, ["premise", "hypothesis"]])
def test_single_texts_do_not_go_with_pairs(workplace, pairs, lines, columns):
    message = "^--unlabeled-data holds single texts, but --clean-data pairs of texts; give the same kind"
    with pytest.raises(InputError, match=message):
        prepare(workplace.suspect, workplace.base, pairs, unlabeled_dataset=lines, text_columns=columns)


def test_pairs_do_not_go_with_single_texts(workplace, pairs):
    message = "^--unlabeled-data holds pairs of texts, but --clean-data single texts; give the same kind"
    with pytest.raises(InputError, match=message):
        prepared(workplace, pairs)


def test_no_texts_are_refused(workplace, lines):
    lines.write_text("\n\n")
    with pytest.raises(InputError, match=r"^--unlabeled-data '.*texts\.txt' has no rows; at least one is needed"):
        prepared(workplace, lines)
    with pytest.raises(InputError, match=r"^--unlabeled-data has no rows"):
        prepared(workplace, Dataset.from_dict({"text": []}))
    examples = Dataset.from_dict({"text": ["a"], "label": [1]})
    with pytest.raises(InputError, match=r"^--unlabeled-data has no rows; leave it out, or give clean texts\."):
        check_texts(examples.select([]), examples)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.txt", None, r"'.*nowhere\.txt': no such file"),
        ("texts.csv", "sentiment\ngood\n", r"'.*texts\.csv' has no text column of a usual name; choose a text column"),
        ("texts.csv", "text,id\n,1\n", r"'.*texts\.csv', row 1, column 'text': the text is empty"),
        ("texts.docx", "text", r"has an unknown file type '\.docx'"),
    ],
)
def test_texts_that_cannot_be_read_are_refused(workplace, name, content, message):
    path = workplace.root / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"^--unlabeled-data {message}" if "has an" not in message else message):
        prepared(workplace, path)


def test_a_refusal_leaves_nothing_behind(workplace):
    before = sorted(workplace.root.rglob("*"))
    with pytest.raises(InputError, match="--unlabeled-data"):
        purify(
            workplace.suspect,
            workplace.base,
            workplace.clean,
            output=workplace.output,
            unlabeled_dataset=workplace.root / "nowhere.txt",
        )
    assert sorted(workplace.root.rglob("*")) == before


# Damaged weights


@pytest.mark.parametrize("name", ["bert.encoder.layer.1.output.dense.weight", "classifier.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_refused_before_the_suspect_is_asked_anything(workplace, name, value):
    path = workplace.suspect / "model.safetensors"
    weights = load_file(path)
    weights[name].view(-1)[0] = value
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(InputError, match=f"`SUSPECT` holds NaN or infinity in {name}; its weights are damaged"):
        prepare(workplace.suspect, workplace.base, workplace.clean)


# What a plan says of the rows


def test_no_rows_are_planned_where_none_are_reset(workplace):
    job = prepare(workplace.suspect, workplace.base, workplace.clean, config=FineMixConfig(purify_top_k=0))
    assert rows_to_reset(job, RECIPE) == ()
    before = copy.deepcopy(job.model.state_dict())
    options = {"config": job.config, "recipe": RECIPE, "distillation": NO_DISTILLATION}
    result = purify(workplace.suspect, workplace.base, workplace.clean, **options)
    assert result.report.purify.tokens == () and result.report.purify.applicable
    assert before.keys() == result.model.state_dict().keys()
