import hashlib
import json

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value

from hf_finemix.data import check_trainable, fingerprint, load_examples, split, stratified_sample, tokenize
from hf_finemix.errors import InputError


LABEL2ID = {"NEGATIVE": 0, "POSITIVE": 1}


def write_json(path, columns):
    """Unlike a data set, JSON can hold values of several types in one column."""
    path.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]))
    return path


def test_fingerprint_depends_on_content_and_order():
    columns = {"text": ["a", "b"], "label": [0, 1]}
    variants = [
        columns,
        {"text": ["b", "a"], "label": [1, 0]},
        {"text": ["a", "b"], "label": [1, 0]},
        {"text": ["a", "c"], "label": [0, 1]},
        {**columns, "text_pair": ["a", "b"]},
        {"text": ["a", "b"]},
    ]
    digests = {fingerprint(Dataset.from_dict(variant)) for variant in variants}
    assert len(digests) == len(variants)
    # Manifests hold it, so what is hashed must not change.
    content = b'["a", null, 0]\n["b", null, 1]\n'
    assert fingerprint(Dataset.from_dict(columns)) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("text", ["", "  ", None])
def test_empty_text(tmp_path, text):
    path = write_json(tmp_path / "data.json", {"text": ["fine", text], "label": [0, 1]})
    with pytest.raises(InputError, match="row 2, column 'text': the text is empty"):
        load_examples(path)


def test_text_that_is_no_text():
    with pytest.raises(InputError, match="--clean-data, row 1, column 'text': a int is no text"):
        load_examples(Dataset.from_dict({"text": [5], "label": [0]}))


def test_half_a_character_is_refused(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "\\ud83d", "label": 1}\n')
    with pytest.raises(InputError, match="row 1, column 'text': the text holds half a character"):
        load_examples(path)


@pytest.mark.parametrize(
    ("columns", "text", "pair"),
    [
        (["content"], "content", None),
        (["sentence", "text"], "text", None),
        (["premise", "hypothesis"], "premise", "hypothesis"),
        (["sentence1", "sentence2"], "sentence1", "sentence2"),
        (["sentence", "question"], "question", "sentence"),
        (["question1", "question2"], "question1", "question2"),
        (["claim", "evidence"], "claim", "evidence"),
        (["text_pair", "text"], "text", "text_pair"),
    ],
)
def test_usual_text_columns(columns, text, pair):
    data = Dataset.from_dict({name: [f"in {name}"] for name in columns} | {"label": [1]})
    expected = {"text": [f"in {text}"]} | ({"text_pair": [f"in {pair}"]} if pair else {}) | {"label": [1]}
    assert load_examples(data).to_dict() == expected


@pytest.mark.parametrize("name", ["label", "labels", "class"])
def test_usual_label_columns(name):
    assert load_examples(Dataset.from_dict({"text": ["a"], name: [1]}))["label"][0] == 1


def test_named_columns():
    data = Dataset.from_dict({"text": ["a"], "headline": ["b"], "body": ["c"], "label": [0], "stars": [4]})
    examples = load_examples(data, text_columns=["headline", "body"], label_column="stars")
    assert examples.to_dict() == {"text": ["b"], "text_pair": ["c"], "label": [4]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"has no text column of a usual name; choose a text column \(--text-column\) from 'review', 'stars'\."),
        ({"text_columns": ["review"]}, r"has no label column of a usual name; choose a label column .* 'stars'\."),
        (
            {"text_columns": ["reviews"]},
            r"has no column 'reviews' \(did you mean 'review'\?\); .* from 'review', 'stars'",
        ),
        ({"text_columns": ["review"], "label_column": "xyz"}, r"has no column 'xyz'; choose a label column"),
        ({"text_columns": "review"}, "The text columns are 'review', but must be a list"),
        ({"text_columns": []}, r"The text columns are \[\], but must be a list"),
        ({"text_columns": ["review"] * 3}, "The text columns are .*, but must be a list of one name, or of two"),
    ],
)
def test_column_errors(options, message):
    with pytest.raises(InputError, match=message):
        load_examples(Dataset.from_dict({"review": ["a"], "stars": [4]}), **options)


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", " 1 ", "+1", True, "POSITIVE", "positive", " Positive "])
def test_label_spellings(tmp_path, value):
    path = write_json(tmp_path / "data.json", {"text": ["a"], "label": [value]})
    assert load_examples(path, label2id=LABEL2ID, num_labels=2)["label"][0] == 1


@pytest.mark.parametrize(
    "value", [2, -1, "2", 0.5, "0.5", "neutral", "", None, float("nan"), float("inf"), [1], "1_0"]
)
def test_unknown_label(tmp_path, value):
    path = write_json(tmp_path / "data.json", {"text": ["a", "b"], "label": [0, value]})
    with pytest.raises(
        InputError, match=r"row 2: unknown label .*; known are .* 'NEGATIVE' \(0\), 'POSITIVE' \(1\)\."
    ):
        load_examples(path, label2id=LABEL2ID, num_labels=2)


def test_unknown_label_without_names():
    data = Dataset.from_dict({"text": ["a"], "label": [3]})
    with pytest.raises(InputError, match=r"row 1: unknown label 3; known are the ids 0 to 2\."):
        load_examples(data, num_labels=3)
    with pytest.raises(InputError, match=r"unknown label 'x'; known are the ids from 0\."):
        load_examples(Dataset.from_dict({"text": ["a"], "label": ["x"]}))


def test_missing_label_is_not_the_label_none(tmp_path):
    path = write_json(tmp_path / "data.json", {"text": ["a"], "label": [None]})
    with pytest.raises(InputError, match="row 1: unknown label None"):
        load_examples(path, label2id={"None": 0, "joy": 1})


@pytest.mark.parametrize("labels", [[1, 5], [1.0, 5.0], ["1", "5"], ["1.0", "5.0"]])
def test_names_take_precedence_over_ids(labels):
    stars = {str(number + 1): number for number in range(5)}
    data = Dataset.from_dict({"text": ["a", "b"], "label": labels})
    assert list(load_examples(data, label2id=stars, num_labels=5)["label"]) == [0, 4]


def test_case_is_only_ignored_where_that_is_unambiguous():
    label2id = {"Pos": 0, "pos": 1}
    assert load_examples(Dataset.from_dict({"text": ["a"], "label": ["pos"]}), label2id=label2id)["label"][0] == 1
    with pytest.raises(InputError, match="unknown label 'POS'"):
        load_examples(Dataset.from_dict({"text": ["a"], "label": ["POS"]}), label2id=label2id)


def class_label_dataset(names, label):
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"text": ["a"], "label": [label]}, features=features)


@pytest.mark.parametrize(
    ("names", "label", "expected"),
    [
        (["positive", "negative"], 0, 1),
        (["Positive", "other"], 0, 1),
        (["good", "bad"], 0, 0),
        (["0", "1"], 1, 1),
    ],
)
def test_class_label_names(tmp_path, names, label, expected):
    data = class_label_dataset(names, label)
    assert load_examples(data, label2id=LABEL2ID, num_labels=2)["label"][0] == expected
    data.to_parquet(tmp_path / "data.parquet")
    assert load_examples(tmp_path / "data.parquet", label2id=LABEL2ID, num_labels=2)["label"][0] == expected


def test_class_label_without_value():
    with pytest.raises(InputError, match="row 1: unknown label -1"):
        load_examples(class_label_dataset(["negative", "positive"], -1), label2id=LABEL2ID)
    with pytest.raises(InputError, match="row 1: unknown label 'other'"):
        load_examples(class_label_dataset(["positive", "other"], 1), label2id=LABEL2ID)


def test_torch_format_does_not_matter():
    data = Dataset.from_dict({"text": ["a"], "label": [1]}).with_format("torch")
    assert isinstance(data[0]["label"], torch.Tensor)
    assert load_examples(data).to_dict() == {"text": ["a"], "label": [1]}


def test_unlabeled_examples_need_no_label():
    data = Dataset.from_dict({"text": ["a"]})
    assert load_examples(data, labeled=False).to_dict() == {"text": ["a"]}
    with pytest.raises(InputError, match="no label column"):
        load_examples(data)


def test_check_trainable():
    check_trainable(Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}), 2)
    with pytest.raises(InputError, match=r"^--data holds only the label 1 of the model's 2; add examples of another"):
        check_trainable(Dataset.from_dict({"text": ["a", "b"], "label": [1, 1]}), 2, "--data")
    with pytest.raises(InputError, match=r"^--clean-data has no rows"):
        check_trainable(Dataset.from_dict({"text": [], "label": []}), 2)


def test_tokenize(tiny_tokenizer):
    examples = Dataset.from_dict({"text": ["a good movie", "bad"], "label": [1, 0]})
    encoded = tokenize(examples, tiny_tokenizer)
    assert set(encoded.column_names) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    assert list(encoded["labels"]) == [1, 0]
    tokens = [tiny_tokenizer.convert_ids_to_tokens(ids) for ids in encoded["input_ids"]]
    assert tokens == [["[CLS]", "a", "good", "movie", "[SEP]"], ["[CLS]", "bad", "[SEP]"]]


def test_tokenize_pairs_truncates_and_needs_no_labels(tiny_tokenizer):
    examples = Dataset.from_dict({"text": ["good " * 9], "text_pair": ["bad " * 9]})
    encoded = tokenize(examples, tiny_tokenizer, max_length=7)
    assert "labels" not in encoded.column_names
    tokens = tiny_tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    assert tokens == ["[CLS]", "good", "good", "[SEP]", "bad", "bad", "[SEP]"]


def test_tokenize_limits(tiny_tokenizer, monkeypatch):
    examples = Dataset.from_dict({"text": ["good " * 999], "label": [1]})
    assert len(tokenize(examples, tiny_tokenizer)["input_ids"][0]) == 64
    for max_length in (2, 65):
        with pytest.raises(InputError, match=f"`max_length` is {max_length}, but must be an integer from 3 to 64"):
            tokenize(examples, tiny_tokenizer, max_length)
    monkeypatch.setattr(tiny_tokenizer, "model_max_length", int(1e30))
    assert len(tokenize(examples, tiny_tokenizer)["input_ids"][0]) == 512
    assert len(tokenize(examples, tiny_tokenizer, 700)["input_ids"][0]) == 700


def test_split_keeps_proportions_and_order():
    labels = [0] * 60 + [1] * 30 + [2] * 10
    examples = Dataset.from_dict({"text": [str(i) for i in range(100)], "label": labels})
    sample, rest = split(examples, 20, seed=3)
    assert [list(sample["label"]).count(label) for label in range(3)] == [12, 6, 2]
    rows = [int(text) for text in sample["text"]]
    assert rows == sorted(rows)
    assert sorted(rows + [int(text) for text in rest["text"]]) == list(range(100))


def test_stratified_sample_depends_on_the_seed_alone():
    examples = Dataset.from_dict({"text": [str(i) for i in range(50)], "label": [i % 2 for i in range(50)]})
    samples = [list(stratified_sample(examples, 10, seed)["text"]) for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    assert set(samples[0]) < set(stratified_sample(examples, 11, 0)["text"])
    assert list(stratified_sample(examples, 50, 0)["text"]) == list(examples["text"])


def test_stratified_sample_has_every_label():
    examples = Dataset.from_dict({"text": ["x"] * 100, "label": [0] * 98 + [1, 2]})
    for seed in range(5):
        assert set(stratified_sample(examples, 3, seed)["label"]) == {0, 1, 2}


@pytest.mark.parametrize(("size", "seed", "name"), [(0, 0, "size"), (3, 0, "size"), (1, -1, "seed")])
def test_stratified_sample_refuses(size, seed, name):
    with pytest.raises(InputError, match=f"`{name}` is"):
        stratified_sample(Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}), size, seed)
