import csv
import json
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Value

from hf_finemix.data import fingerprint, load_examples, load_texts
from hf_finemix.errors import InputError
from hf_finemix.parquet_size import check_parquet
from hf_finemix.readers import READERS


TEXTS = ["NA", "null", "1", 'she said "fine", twice', "two\nlines", "café  "]
LABELS = [0, 1, 0, 1, 1, 0]


def write_delimited(path, rows, delimiter=",", encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def write(path: Path, columns: dict[str, list]) -> Path:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if path.suffix in (".csv", ".tsv"):
        delimiter = "\t" if path.suffix == ".tsv" else ","
        write_delimited(path, [list(columns), *zip(*columns.values(), strict=True)], delimiter)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pd.DataFrame(columns).to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet", ".CSV"])
def test_formats_give_the_same_examples(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    write(path.with_suffix(suffix.lower()), {"id": range(6), "text": TEXTS, "label": LABELS})
    path.with_suffix(suffix.lower()).rename(path)
    before = sorted(tmp_path.iterdir())

    examples = load_examples(str(path), num_labels=2)

    assert examples.features == Features({"text": Value("string"), "label": Value("int64")})
    assert list(examples["text"]) == TEXTS
    assert list(examples["label"]) == LABELS
    assert not examples.cache_files and sorted(tmp_path.iterdir()) == before
    reference = Dataset.from_dict({"text": TEXTS, "label": LABELS})
    assert fingerprint(examples) == fingerprint(load_examples(reference)) == fingerprint(reference)


def test_byte_order_mark_is_no_part_of_the_header(tmp_path):
    path = tmp_path / "data.csv"
    write_delimited(path, [["text", "label"], ["fine", 1]], encoding="utf-8-sig")
    assert load_examples(path).to_dict() == {"text": ["fine"], "label": [1]}


def test_blank_lines_are_skipped(tmp_path):
    (tmp_path / "data.csv").write_text("text,label\n\nfine,1\n\n")
    (tmp_path / "data.jsonl").write_text('{"text": "fine", "label": 1}\n\n')
    for path in tmp_path.iterdir():
        assert load_examples(path).to_dict() == {"text": ["fine"], "label": [1]}


def test_line_separators_other_than_line_feeds_stay_in_texts(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a\u2028b", "label": 1}\n', encoding="utf-8")
    assert load_examples(path)["text"][0] == "a\u2028b"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.csv", b"text,label\n\xff\xfe,1\n", "is not UTF-8 text"),
        ("a.csv", b"text,label\na,b,1\n", "row 1 has 3 fields, but the header has 2"),
        ("a.csv", b'text,label\n"a,1\n', "line 2: unexpected end of data"),
        ("a.csv", b"text,text\na,b\n", "names a column twice: 'text', 'text'"),
        ("a.json", b"[]", "has no rows"),
        ("a.json", b'{"text": ["a"]}', "holds one dict, but must hold an array of objects"),
        ("a.json", b'[{"text": "a"}, 3]', "row 2 holds a int, but must be an object"),
        ("a.json", b'{"text": "a"}\n{"text": "b"}', r"line 2: Extra data; .*suffix \.jsonl"),
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', "line 3: Expecting value"),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', "line 2 holds a list, but must be an object"),
        ("a.parquet", b"text,label\n", "is no parquet file"),
        ("a.parquet", b"", "is no parquet file"),
        ("a.xlsx", b"", "has an unknown file type '.xlsx'; known ones are .csv, .tsv"),
    ],
)
def test_broken_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_examples(path)
    assert str(caught.value).startswith(f"--clean-data '{path}'")
    assert "\n" not in str(caught.value)


def test_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder; name the data file in it"):
        load_examples(tmp_path)


@pytest.mark.parametrize(
    "data", ["gone.csv", "data/gone.parquet", "./gone", "/gone", "~/gone", "a/b/gone", "gone.csv:train", Path("gone")]
)
def test_missing_file(data):
    with pytest.raises(InputError, match=rf"^--data '{data}': no such file; check the path"):
        load_examples(data, argument="--data")


def test_other_types_are_refused():
    with pytest.raises(InputError, match=r"`data` is a DatasetDict, but must be a `datasets\.Dataset`"):
        load_examples(datasets.DatasetDict(), argument="`data`")


@pytest.mark.parametrize(
    ("data", "call"),
    [
        ("imdb", ("imdb", None, "train")),
        ("org/data-set", ("org/data-set", None, "train")),
        ("org/data-set:test", ("org/data-set", None, "test")),
        ("nyu-mll/glue:sst2:validation", ("nyu-mll/glue", "sst2", "validation")),
        ("imdb:train[:100]", ("imdb", None, "train[:100]")),
        ("nyu-mll/glue:sst2:train[10%:20%]", ("nyu-mll/glue", "sst2", "train[10%:20%]")),
    ],
)
def test_hub_dataset(monkeypatch, data, call):
    calls = []

    def load_dataset(path, name=None, *, split):
        calls.append((path, name, split))
        return Dataset.from_dict({"text": ["a"], "label": [1]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_examples(data).to_dict() == {"text": ["a"], "label": [1]}
    assert calls == [call]


@pytest.mark.parametrize("data", ["imdb:", ":train", "a:b:c:d", "imdb::train", "two words", "imdb:train[:5"])
def test_malformed_hub_dataset(monkeypatch, data):
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: pytest.fail("must not be called"))
    with pytest.raises(InputError, match=r"neither a file nor a Hub dataset|no such file"):
        load_examples(data)


@pytest.mark.parametrize("data", ["csv", "json:train", "parquet", "imagefolder"])
def test_format_name_is_no_hub_dataset(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "other.csv", {"text": ["a"], "label": [1]})
    with pytest.raises(InputError, match=f"'{data}' is the name of a file format; give the file itself"):
        load_examples(data)


def test_damaged_parquet_file(tmp_path):
    path = write(tmp_path / "data.parquet", {"text": ["a"], "label": [1]})
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is no parquet file|cannot be read: the data are damaged\.$"):
        load_examples(path)


def test_hub_failure_is_one_line(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'org/data' on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError) as caught:
        load_examples("org/data")
    assert str(caught.value) == (
        "--clean-data 'org/data' is no file here and could not be loaded from the Hub (Couldn't reach 'org/data' on "
        "the Hub); check the id, the split and the connection."
    )


def test_hub_dataset_without_network():
    with pytest.raises(
        InputError, match="'org/surely-not-there' is no file here and could not be loaded from the Hub"
    ):
        load_examples("org/surely-not-there")


def test_existing_file_wins_over_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("data.csv"), {"text": ["a"], "label": [1]})
    Path("imdb").write_text("")
    assert load_examples("data.csv").num_rows == 1
    with pytest.raises(InputError, match="'imdb' has an unknown file type ''"):
        load_examples("imdb")


def test_load_texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("first\n\n  second \n\u2028third", encoding="utf-8")
    assert load_texts(path).to_dict() == {"text": ["first", "  second ", "\u2028third"]}
    assert ".txt" in READERS
    # It has no columns: those that are named are meant for files that have some.
    for columns in (["review"], ["premise", "hypothesis"]):
        assert load_texts(str(path), columns).to_dict() == load_texts(path).to_dict()
    path = write(tmp_path / "pairs.csv", {"premise": ["a"], "hypothesis": ["b"], "label": [1]})
    assert load_texts(path).to_dict() == {"text": ["a"], "text_pair": ["b"]}
    assert load_texts(path, ["hypothesis"]).to_dict() == {"text": ["b"]}
    with pytest.raises(InputError, match=r"^--texts '.*' has no column 'c'"):
        load_texts(path, ["c"], argument="--texts")


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_a_thousand_columns_are_enough(tmp_path, suffix):
    # Each row is given all columns, so that a small file of many keys would fill the memory.
    row = {"text": "a", "label": 0} | {f"key{number}": 1 for number in range(998)}
    path = tmp_path / f"data{suffix}"
    write(path, {name: [value] for name, value in row.items()})
    assert len(load_examples(path, num_labels=2)) == 1
    write(path, {name: [value] for name, value in (row | {"more": 1}).items()})
    with pytest.raises(InputError, match=r"^--clean-data '.*' has more than 1,000 columns"):
        load_examples(path)


def test_keys_of_all_rows_count_together(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"text": "a", f"key{number}": 1}) + "\n" for number in range(1000)))
    with pytest.raises(InputError, match=r"^--unlabeled-data '.*' has more than 1,000 columns"):
        load_texts(path)


@pytest.mark.parametrize(
    "values", [{"text": "x" * 3000}, {"text": "x", "words": ["a"] * 1000}, {"text": "x", "picture": b"0" * 3000}]
)
def test_a_parquet_file_that_fills_the_memory_is_refused(tmp_path, monkeypatch, values):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({name: [value] * 2000 for name, value in (values | {"label": 0}).items()}), path)
    monkeypatch.setattr("hf_finemix.parquet_size.available_memory", lambda: 1_000_000)
    assert path.stat().st_size < 50_000
    with pytest.raises(InputError, match=r"^--clean-data '.*' becomes more than 0.0 GB when it is read"):
        load_examples(path)
    monkeypatch.setattr("hf_finemix.parquet_size.available_memory", lambda: 1_000_000_000)
    assert len(load_examples(path)) == 2000


def test_a_damaged_parquet_file_is_refused_by_the_check_of_its_size(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"0" * 100 + b"PAR1")
    with pytest.raises(InputError, match="is no parquet file, or a damaged one"):
        check_parquet(tmp_path / "a.parquet", "--clean-data")
