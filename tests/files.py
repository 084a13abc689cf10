"""Small models and data on disk, for the tests of whole jobs."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertModel, PreTrainedTokenizerBase

from hf_finemix.cli.main import main
from hf_finemix.results import Distillation


GOOD = ("good", "great", "fine", "nice", "fun", "best")
BAD = ("bad", "poor", "dull", "sad", "worst", "slow")
# A distillation that takes no time.
SHORT = Distillation(epochs=1, batch_size=8, texts=16, candidates=4)


@dataclass(frozen=True)
class Workplace:
    """Folders and files of one tiny job."""

    root: Path
    suspect: Path
    base: Path
    clean: Path

    @property
    def output(self) -> Path:
        """Where the job would write; not there yet."""
        return self.root / "out"

    def arguments(self, *more: str, **changed: str | Path) -> list[str]:
        """The command line of a purification without distillation, with single arguments changed."""
        names = {"suspect": self.suspect, "pretrained": self.base, "clean_data": self.clean, "output": self.output}
        names |= changed
        options = [f"--{name.replace('_', '-')}={value}" for name, value in names.items() if name != "suspect"]
        return ["purify", str(names["suspect"]), "--epochs=1", "--distillation-epochs=0", *options, *more]


def make_workplace(root: Path, model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerBase) -> Workplace:
    """Saves a base, a suspect that moved away from it, and twelve labelled sentences."""
    place = Workplace(root, root / "suspect", root / "base", root / "clean.csv")
    base = BertModel(model.config)
    base.load_state_dict(model.bert.state_dict())
    base.save_pretrained(place.base)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    model.config.id2label = {0: "negative", 1: "positive"}
    model.config.label2id = {"negative": 0, "positive": 1}
    model.save_pretrained(place.suspect)
    for folder in (place.suspect, place.base):
        tokenizer.save_pretrained(folder)
    rows = [
        (f"the movie is {word}", name) for words, name in ((GOOD, "positive"), (BAD, "negative")) for word in words
    ]
    write_csv(place.clean, ["text", "label"], rows)
    return place


def write_csv(path: Path, header: list[str], rows: list[tuple]) -> Path:
    """Writes a csv file and gives back its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def run(capsys, arguments):
    """Runs a command in this process; gives its status and what it printed."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
