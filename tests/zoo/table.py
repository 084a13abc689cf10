"""
Writes the table of docs/hostile-models.md: each animal with what became of it, and how long that took.

    python -m tests.zoo.table

Seconds are of the slowest command, within a process that has imported everything, on the machine that this runs on.
"""

import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path


os.environ["HF_HUB_OFFLINE"] = "1"

import torch

from hf_finemix.cli.main import main
from hf_finemix.markdown import escape, table

from ..conftest import VOCABULARY
from ..purified import make_tiny_place
from . import ANIMALS
from .animals import REFUSED, Animal
from .cages import make_cage


PAGE = Path(__file__).parents[2] / "docs" / "hostile-models.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def watch(animal: Animal, place, root: Path) -> tuple[str, float]:
    """Shows an animal to its commands; returns what the first said, and the seconds of the slowest."""
    cage = make_cage(place, root)
    animal.spoil(cage)
    said, seconds = "", []
    for command in animal.commands:
        places = {"suspect": cage.suspect, "base": cage.base, "clean": cage.clean, "out": cage.root / "out"}
        errors = io.StringIO()
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.redirect_stderr(errors):
            main([argument.format(**places) for argument in command])
        seconds.append(time.perf_counter() - started)
        said = said or errors.getvalue().strip()
    for path in (cage.suspect, cage.base, cage.root):
        said = said.replace(f"{path}{os.sep}", "").replace(str(path), path.name)
    return said.partition(" error: ")[2], max(seconds)


def make_table() -> str:
    """Returns the table in Markdown."""
    from transformers import BertTokenizerFast

    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        tokens = {token: index for index, token in enumerate(VOCABULARY)}
        tokenizer = BertTokenizerFast(vocab=tokens, model_max_length=64)
        place = make_tiny_place(Path(scratch) / "place", tokenizer)
        # What is imported at the first call counts for none.
        watch(next(iter(ANIMALS.values())), place, Path(scratch) / "first")
        for number, animal in enumerate(sorted(ANIMALS.values(), key=lambda item: (item.kind, item.name))):
            said, seconds = watch(animal, place, Path(scratch) / str(number))
            fate = f"refused: {escape(said, 160)}" if animal.fate == REFUSED else "handled"
            commands = ", ".join(command[0] for command in animal.commands)
            rows.append([animal.kind, escape(animal.says), commands, fate, f"{seconds:.2f}"])
    return table(["kind", "what it does", "shown to", "what became of it", "s"], rows)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:begin]}\n\n{make_table()}\n\n{page[end:]}", encoding="utf-8")
    sys.stdout.write(f"{PAGE.name}: {len(ANIMALS)} rows\n")
