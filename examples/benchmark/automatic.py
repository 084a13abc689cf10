"""
Compares the automatic recipe with the paper's recipe on the same suspects: at its best ratio, and at the one chosen.

    python examples/benchmark/automatic.py

Reads the cells of examples/benchmark/automatic and examples/benchmark/laboratory, and writes automatic.md.

Best in hindsight is the reserve ratio of Fine-mixing (with E-PUR) that leaves the lowest ASR on the test examples
among those that lose at most 5 points of test accuracy against the suspect, or the most accurate one if all lose more:
no defender can choose so. The paper's rule takes the smallest ratio that loses at most 5 points on 200 held-out clean
examples.
"""

from pathlib import Path
from statistics import fmean

from hf_finemix.laboratory.records import CandidateRecord, CellRecord, SuspectRecord
from hf_finemix.laboratory.results import Results
from hf_finemix.report import Evaluation


HERE = Path(__file__).parent
MARGIN = 0.05
OURS = ("automatic", "automatic labels alone", "distilled mixing labels alone", "distilled mixing labels alone at 0.3")


def main() -> None:
    """Writes the page."""
    own, laboratory = Results.load(HERE / "automatic"), Results.load(HERE / "laboratory")
    fixed = {key(cell): cell for cell in (*laboratory.cells, *own.cells) if is_paper(cell)}
    rows, kept = [], []
    for cell in sorted((cell for cell in own.cells if cell.defense in OURS), key=place):
        suspect = next(item for item in own.suspects if key(item) == key(cell))
        if cell.result is None:
            continue
        paper = fixed.get(key(cell))
        best = None if paper is None else hindsight(suspect, paper)
        ratio = cell.result.setting.get("keep_ratio")
        rows.append(
            [
                f"{cell.task}, {cell.attack}, seed {cell.seed}" + (", MPNet-base" if cell.model == "mpnet" else ""),
                figures(suspect.evaluation),
                figures(suspect.baseline),
                f"{figures(cell.result.evaluation)} ({ratio:g})",
                "" if best is None else f"{figures(best.evaluation)} ({best.setting['keep_ratio']:g})",
                ""
                if paper is None
                else f"{figures(paper.result.evaluation)} ({paper.result.setting['keep_ratio']:g})",
                cell.defense,
            ]
        )
        kept.append((cell.defense, suspect, cell.result.evaluation))
    text = __doc__.strip().split("\n\n")
    lines = [
        "# The automatic recipe",
        "",
        "    hf-finemix bench examples/benchmark/automatic.yaml --output examples/benchmark/automatic --workers 2",
        text[1],
        "",
        "ACC / ASR / flip rate of the worst trigger in percent, and in brackets the reserve ratio. Ours had 64",
        "labelled clean examples, as Fine-mixing had; `automatic` also 1,000 texts without labels (576 on amazon and",
        "tweets).",
        text[3],
    ]
    header = ["suspect", "before", "clean model", "ours", "Fine-mixing, best in hindsight", "by the paper's rule"]
    for defense in OURS:
        chosen = [row[:-1] for row in rows if row[-1] == defense]
        if chosen:
            lines += ["", f"## {defense.capitalize()}", "", *table(header, chosen), "", summary(defense, kept)]
    (HERE / "automatic.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def key(record: SuspectRecord | CellRecord) -> tuple[str, str, str, int]:
    """Returns what a suspect is known by."""
    return record.task, record.model, record.attack, record.seed


def place(cell: CellRecord) -> tuple[bool, str, str, int]:
    """Returns where a cell stands in the table."""
    return cell.model != "minilm", cell.task, cell.attack, cell.seed


def is_paper(cell: CellRecord) -> bool:
    """Tells whether a cell is the paper's Fine-mixing with E-PUR on 64 examples."""
    return cell.defense == "fine_mixing" and cell.e_pur and cell.clean_examples == 64 and cell.result is not None


def hindsight(suspect: SuspectRecord, cell: CellRecord) -> CandidateRecord:
    """Returns the setting of a cell that looking at the test examples would choose."""
    least = suspect.evaluation.accuracy.value - MARGIN
    able = [item for item in cell.candidates if item.evaluation.accuracy.value >= least]
    if able:
        return min(able, key=lambda item: item.evaluation.worst.asr.value)
    return max(cell.candidates, key=lambda item: item.evaluation.accuracy.value)


def figures(evaluation: Evaluation) -> str:
    """Returns ACC, ASR and flip rate in percent."""
    worst = evaluation.worst
    return " / ".join(f"{100 * rate.value:.1f}" for rate in (evaluation.accuracy, worst.asr, worst.flip_rate))


def summary(defense: str, kept: list[tuple[str, SuspectRecord, Evaluation]]) -> str:
    """Returns mean differences of a defence to suspect and clean model."""
    own = [(suspect, after) for name, suspect, after in kept if name == defense]
    lost = fmean(suspect.evaluation.accuracy.value - after.accuracy.value for suspect, after in own)
    above = fmean(after.worst.asr.value - suspect.baseline.worst.asr.value for suspect, after in own)
    flips = fmean(after.worst.flip_rate.value - suspect.baseline.worst.flip_rate.value for suspect, after in own)
    return (
        f"Mean over these {len(own)}: {100 * lost:.1f} points of ACC lost against the suspect; ASR {100 * above:+.1f} "
        f"and flip rate {100 * flips:+.1f} points against the clean model."
    )


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Returns a table in Markdown."""
    return [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows)]


if __name__ == "__main__":
    main()
