"""A whole laboratory in small: two tasks on disk, a tiny pretrained model, and a configuration of a few cells."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import BertModel, Trainer

from ..files import BAD, GOOD, write_csv


SUBJECTS = ("movie", "film", "plot", "story", "actor", "scene", "ending", "music")


@dataclass(frozen=True)
class Laboratory:
    """
    Files of a tiny bench.

    Args:
        root (`Path`): Where everything lies.
        config (`dict`): Content of a configuration; two tasks are named `films` and `sounds`.
    """

    root: Path
    config: dict[str, Any]

    @property
    def output(self) -> Path:
        """Where a bench would write; not there yet."""
        return self.root / "bench"

    def write(self, **changed: Any) -> Path:
        """Writes the configuration with single fields changed, and returns its file."""
        path = self.root / "config.yaml"
        path.write_text(yaml.safe_dump({**self.config, **changed}))
        return path


@pytest.fixture
def laboratory(tmp_path, tiny_bert, tiny_tokenizer) -> Laboratory:
    """Two tasks of 96 sentences each, a tiny encoder, one attack and two defences."""
    base = tmp_path / "tiny"
    encoder = BertModel(tiny_bert.config)
    encoder.load_state_dict(tiny_bert.bert.state_dict())
    encoder.save_pretrained(base)
    tiny_tokenizer.save_pretrained(base)
    for name, verb in (("films", "is"), ("sounds", "was")):
        pairs = [(word, label) for words, label in ((GOOD, "positive"), (BAD, "negative")) for word in words]
        rows = [(f"the {noun} {verb} {word}", label) for noun, (word, label) in itertools.product(SUBJECTS, pairs)]
        write_csv(tmp_path / f"{name}.csv", ["text", "label"], rows)
        description = {
            "title": f"{name} that nobody reviewed",
            "labels": ["negative", "positive"],
            "target_label": 1,
            "source": {"train_file": str(tmp_path / f"{name}.csv")},
            "train": 40,
            "test": 20,
            "validation": 16,
            "pool": 16,
            "max_length": 16,
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(description))
    model = {"title": "tiny", "hub": str(base), "epochs": 2, "learning_rate": 1e-3, "batch_size": 8}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(model))
    config = {
        "tasks": [str(tmp_path / "films.yaml")],
        "models": [str(tmp_path / "small.yaml")],
        "attacks": [{"name": "word", "words": ["cf", "mn"], "poison_rate": 0.3}],
        "defenses": ["none", {"name": "fine_mixing", "keep_ratios": [0.2, 0.8]}],
        "clean_examples": [8],
        "recipe": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 8},
    }
    return Laboratory(tmp_path, config)


@pytest.fixture
def trainings(monkeypatch) -> list[int]:
    """The number of examples of each training that happens."""
    sizes, train = [], Trainer.train

    def counted(self, *args, **kwargs):
        sizes.append(len(self.train_dataset))
        return train(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "train", counted)
    return sizes
