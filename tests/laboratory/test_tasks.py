"""Tasks and pretrained models: their descriptions, and how examples are read and cut."""

import json

import datasets
import pytest

from hf_finemix import InputError
from hf_finemix.laboratory.base_models import load_base_model
from hf_finemix.tasks import packages
from hf_finemix.tasks.task import Task, load_task, task_names


HUB_TASKS = {
    "sst2": ("stanfordnlp/sst2", "default", "train", "validation"),
    "imdb": ("stanfordnlp/imdb", "plain_text", "train", "test"),
    "amazon_polarity": ("fancyzhx/amazon_polarity", "amazon_polarity", "train[:100000]", "test[:20000]"),
    "qqp": ("nyu-mll/glue", "qqp", "train", "validation"),
    "qnli": ("nyu-mll/glue", "qnli", "train", "validation"),
}
LOCAL_TASKS = {"movies", "amazon", "tweets", "vitaminc", "wikihow"}


def texts(part: datasets.Dataset) -> set[tuple]:
    """The examples of a part, without their labels."""
    return {(row["text"], row.get("text_pair")) for row in part}


def test_each_description_of_the_package_is_a_task():
    assert set(task_names()) == LOCAL_TASKS | set(HUB_TASKS)
    for name in task_names():
        assert load_task(name).name == name


@pytest.mark.parametrize("name", ["movies", "amazon", "tweets"])
def test_real_sentences_are_cut_into_disjoint_parts(name):
    task = load_task(name)
    splits = task.load()
    assert (len(splits.test), len(splits.validation), len(splits.pool)) == (task.test, 200, 640)
    parts = [texts(part) for part in (splits.train, splits.test, splits.validation, splits.pool)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert 2000 < len(splits.train) <= task.train
    # Both labels, in the test set, often enough for a rate.
    assert min(splits.test["label"].count(label) for label in (0, 1)) > 150


def test_the_cut_is_the_same_every_time_and_draws_are_nested():
    first, second = load_task("movies").load(), load_task("movies").load()
    assert list(first.test["text"]) == list(second.test["text"])
    assert texts(first.clean(16, seed=3)) < texts(first.clean(64, seed=3))
    assert texts(first.clean(16, seed=3)) != texts(first.clean(16, seed=4))


@pytest.mark.parametrize("name", HUB_TASKS)
def test_tasks_of_the_hub(name, monkeypatch):
    asked = []

    def load_dataset(repo_id, config, split):
        asked.append((repo_id, config, split))
        task = load_task(name)
        columns = task.source["text_columns"]
        size = task.train + 2000 if "train" in split else task.test + 10
        features = {column: datasets.Value("string") for column in columns}
        features["label"] = datasets.ClassLabel(names=list(task.labels))
        rows = {column: [f"{column} {split} {row}" for row in range(size)] for column in columns}
        rows["label"] = [int(row >= size / 2) for row in range(size)]  # sorted, as IMDB is
        return datasets.Dataset.from_dict(rows, features=datasets.Features(features))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    splits = load_task(name).load()
    repo_id, config, train, test = HUB_TASKS[name]
    assert asked == [(repo_id, config, train), (repo_id, config, test)]
    assert len(splits.test) == load_task(name).test
    assert all("train" not in text for text in splits.test["text"])
    assert ("text_pair" in splits.train.column_names) == (name in ("qqp", "qnli"))
    for part in (splits.train, splits.test, splits.validation, splits.pool):
        assert 0.3 < sum(part["label"]) / len(part) < 0.7


@pytest.fixture
def material(tmp_path, monkeypatch):
    """A folder for material, empty."""
    monkeypatch.setattr(packages, "material_folder", lambda: tmp_path)

    def write(task: str, examples: list[tuple[str, dict[str, int]]]) -> None:
        path = tmp_path / "bigbench" / task / "task.json"
        path.parent.mkdir(parents=True)
        rows = [{"input": text, "target_scores": scores} for text, scores in examples]
        path.write_text(json.dumps({"examples": rows}))

    return write


def test_claims_are_balanced_and_unique(material):
    scores = {
        answer: {name: int(name == answer) for name in ("True", "False", "Neither")}
        for answer in ("True", "False", "Neither")
    }
    rows = [(f"Page: fact {row}\nClaim: claim {row}", scores["True"]) for row in range(8)]
    rows += [(f"Page: rumour {row}\nClaim: idea {row}", scores["Neither"]) for row in range(3)]
    rows += [("Page: lie\nClaim: untrue", scores["False"]), rows[0]]
    rows += [("Page: a long tale\nClaim: too long a claim", scores["Neither"])]
    material("vitaminc_fact_verification", rows)
    read = packages.vitaminc(["True", "Neither"], longest=7)
    assert sorted(read["label"]) == [0, 0, 0, 1, 1, 1]
    assert all(row["text"].startswith("claim") == (row["label"] == 0) for row in read)
    assert all(row["text_pair"].startswith("Page: ") for row in read)


def test_goals_and_steps_are_pairs_side_by_side(material):
    goals = [("The most reasonable goal of 'Boil water' is ", {"Fly a kite": 0, "Make tea": 1})] * 2
    steps = [("The most reasonable step of 'Bake bread' is ", {"Knead the dough": 1, "Pay a fine": 0})] * 2
    material("goal_step_wikihow/goal_inference", goals)
    material("goal_step_wikihow/step_inference", steps)
    rows = [tuple(row.values()) for row in packages.wikihow()]
    assert sorted(set(rows)) == [
        ("Bake bread", "Knead the dough", 1),
        ("Bake bread", "Pay a fine", 0),
        ("Fly a kite", "Boil water", 0),
        ("Make tea", "Boil water", 1),
    ]
    assert [row[2] for row in rows] == [1, 0] * 4


def test_material_that_is_not_there(material):
    with pytest.raises(InputError, match=r"task.json' is missing; run `python examples/benchmark/material.py`"):
        load_task("wikihow").load()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\ntitle:", "\ntittle:", "has no field 'tittle'; did you mean 'title'"),
        ("train_file", "trainfile", "`source` names none of reader, hub, train_file"),
        ("target_label: 1", "target_label: 2", "`target_label` is 2"),
        ("test: 20", "test: none", "test is 'none'"),
        ("labels:", "labels: [one]\nother:", "has no field 'other'"),
    ],
)
def test_wrong_descriptions(laboratory, old, new, message):
    path = laboratory.root / "films.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_task(str(path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"reader": "sentiment"}, "Unknown reader 'sentiment'; did you mean 'sentiment_sentences'"),
        ({"hub": "org/data", "tests": "test"}, "`source` has no field 'tests'; did you mean 'test'"),
    ],
)
def test_wrong_sources(source, message):
    with pytest.raises(InputError, match=message):
        Task("films", "films", ("no", "yes"), 1, source)


def test_a_separate_test_file_is_the_test_set(laboratory):
    task = Task(
        "films",
        "films",
        ("negative", "positive"),
        1,
        {"train_file": str(laboratory.root / "films.csv"), "test_file": str(laboratory.root / "sounds.csv")},
        train=90,
        test=30,
        validation=10,
        pool=10,
    )
    splits = task.load()
    assert all(" was " in text for text in splits.test["text"])
    assert len(splits.train) == 96 - 20
    with pytest.raises(InputError, match="needs more than 96"):
        Task(**{**task.to_dict(), "labels": task.labels, "pool": 86}).load()


def test_models():
    assert load_base_model("bert").hub == "google-bert/bert-base-uncased"
    assert load_base_model("minilm").weights == "minilm"
    other = load_base_model("org/encoder@v1")
    assert (other.name, other.hub, other.epochs) == ("encoder", "org/encoder@v1", 2)


def test_a_folder_is_a_model(laboratory):
    assert load_base_model(str(laboratory.root / "tiny")).resolve().config["model_type"] == "bert"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x", "must name either `hub` or `weights`"),
        ("weights: minilmm", "Unknown weights 'minilmm'; did you mean 'minilm'"),
        ("hub: a/b\nepoch: 3", "has no field 'epoch'; did you mean 'epochs'"),
        ("hub: a/b\nepochs: 0", "`epochs` is 0"),
    ],
)
def test_wrong_models(tmp_path, text, message):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_base_model(str(path))
