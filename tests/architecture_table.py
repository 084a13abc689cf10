"""
Runs the tests of architectures and writes what passed into the documentation.

    python -m tests.architecture_table
"""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from .architectures import CELLS


TABLE = Path(__file__).parents[1] / "docs" / "architectures.md"
# Columns of the table, and the test that has to pass for each.
_MIX = "test_mixed_model_is_saved_loaded_and_streamed_bit_for_bit"
COLUMNS = {
    "mixed, in memory": _MIX,
    "rows reset": "test_rows_are_reset_where_there_are_words",
    "trained": "test_trainer_takes_it_and_what_it_saves_answers_the_same",
    "saved, loaded, same outputs": _MIX,
    "from disk to disk, same bytes": _MIX,
}
# Stored expert by expert, and put together when they are loaded.
MERGED = ("Mixtral",)
WITHOUT_WORDS = ("ViT", "AST")
NOT_APPLICABLE = {("rows reset", name): "no words" for name in WITHOUT_WORDS} | {
    ("from disk to disk, same bytes", name): "refused" for name in MERGED
}


class Collector:
    """What pytest says of each test."""

    def __init__(self):
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes a test that passed."""
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid.split("::")[-1])


def render(passed: set[str]) -> str:
    """Makes the page from the names of the tests that passed."""
    lines = [
        "# Architectures and tasks",
        "",
        "Each cell is a test on a tiny model whose scalars all differ from its base's: a bare base model is mixed",
        "into a model with a head, in memory and from disk to disk; word embeddings are reset; two steps are trained;",
        "what is saved is loaded again and has to answer the same, bit for bit. Classifiers of sequences are trained",
        "with several labels at a time and with a number as label, too (BERT, T5, Llama).",
        "",
        "*no words*: a model of images or sound has no rows to reset, and its report says so. *refused*: transformers",
        "stores the experts one by one and loads them as one parameter, whose mask cannot be drawn expert by expert;",
        "`mix` says so in one line, and `fine_mix_` on the loaded model does it.",
        "",
        f"| architecture | task | {' | '.join(COLUMNS)} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for architecture, task in CELLS:
        marks = [
            (NOT_APPLICABLE.get((column, architecture), "yes") if f"{test}[{architecture} {task}]" in passed else "no")
            for column, test in COLUMNS.items()
        ]
        lines.append(f"| {architecture} | {task} | {' | '.join(marks)} |")
    lines += ["", f"transformers {version('transformers')}, torch {version('torch').split('+')[0]}.", ""]
    return "\n".join([*lines, "    python -m tests.architecture_table", ""])


def main() -> int:
    """Runs the tests and writes the page."""
    collector = Collector()
    tests = str(Path(__file__).with_name("test_architectures.py"))
    status = pytest.main(["-q", "-p", "no:xdist", "-k", "not the_table", tests], [collector])
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(render(collector.passed), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
