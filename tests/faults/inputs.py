"""What the commands of these tests work on, made once and not to be changed, and how the files of a folder look."""

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml
from peft import LoraConfig
from transformers import PreTrainedTokenizerBase

from ..adapters.kinds import make_adapter
from ..files import BAD, GOOD, Workplace, write_csv
from ..laboratory.records import grid, save
from ..purified import make_tiny_place


# Those that make a new folder.
MAKERS = ("purify", "mix", "merge", "extract", "bench", "report")
# Those that write something; `card` works in a folder that is there, `scan` writes one file.
WRITERS = (*MAKERS, "scan", "card")
READERS = ("evaluate", "verify")


@dataclass(frozen=True)
class Inputs:
    """Folders and files, all in one place."""

    root: Path
    place: Workplace

    def arguments(self, command: str, target: Path | None = None) -> list[object]:
        """The command line of a command that writes to a target."""
        suspect, base, clean = self.place.suspect, self.place.base, self.place.clean
        pretrained, output = ["--pretrained", base], ["--output", target]
        if command == "purify":
            small = ["--epochs=1", "--distillation-epochs=0", "--purify-top-k=3"]
            return ["purify", suspect, *pretrained, "--clean-data", clean, *small, *output]
        if command == "mix":
            return ["mix", suspect, *pretrained, "--keep-ratio=0.3", "--workers=2", *output]
        if command == "merge":
            return ["merge", self.root / "adapter", *pretrained, *output]
        if command == "extract":
            return ["extract", suspect, *pretrained, "--rank=2", *output]
        if command == "bench":
            return ["bench", self.root / "bench.yaml", *output]
        if command == "report":
            return ["report", self.root / "results", *output]
        if command == "scan":
            return ["scan", suspect, *pretrained, "--sarif", target, "--clean-data", clean, "--search-top=2"]
        if command == "card":
            return ["card", target, "--language=en", "--name=Another name"]
        if command == "evaluate":
            return ["evaluate", suspect, "--data", clean]
        return ["verify", self.place.output, "--suspect", suspect, *pretrained]

    def prepare(self, command: str, target: Path) -> None:
        """Makes what has to be there before a command runs."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if command == "card":
            shutil.copytree(self.place.output, target)


def make_inputs(root: Path, tokenizer: PreTrainedTokenizerBase, purified: Path) -> Inputs:
    """Makes all inputs; `purified` is the output folder of a purification of the same suspect."""
    place = make_tiny_place(root, tokenizer)
    shutil.copytree(purified, place.output)
    make_adapter(place.base, root / "adapter", LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
    _make_bench(root, place)
    save(grid(attacks=("word",)), root / "results")
    return Inputs(root, place)


def _make_bench(root: Path, place: Workplace) -> None:
    """The configuration of a bench: a model, a suspect and two cells."""
    pairs = [(word, label) for words, label in ((GOOD, "positive"), (BAD, "negative")) for word in words]
    rows = [(f"the {noun} is {word}", label) for noun, (word, label) in itertools.product(("film", "plot"), pairs)]
    write_csv(root / "films.csv", ["text", "label"], rows)
    sizes = {"train": 8, "test": 6, "validation": 4, "pool": 4, "max_length": 16}
    task = {"title": "films", "labels": ["negative", "positive"], "target_label": 1, **sizes}
    task["source"] = {"train_file": str(root / "films.csv")}
    model = {"title": "tiny", "hub": str(place.base), "epochs": 1, "learning_rate": 1e-3, "batch_size": 8}
    bench = {
        "tasks": [str(root / "films.yaml")],
        "models": [str(root / "small.yaml")],
        "attacks": [{"name": "word", "words": ["cf"], "poison_rate": 0.3}],
        "defenses": ["none", {"name": "fine_mixing", "keep_ratios": [0.5]}],
        "e_pur": [False],
        "clean_examples": [4],
        "recipe": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 8},
    }
    for name, content in (("films", task), ("small", model), ("bench", bench)):
        (root / f"{name}.yaml").write_text(yaml.safe_dump(content))


def everything(folder: Path) -> dict[str, bytes | None]:
    """All files of a folder with their bytes, and all folders in it."""
    found = sorted(folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes() for path in found}


def states(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of the last change of all that is in a folder."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {str(path): (state.st_mode, state.st_size, state.st_mtime_ns) for path, state in found.items()}
