"""Tables and figure of `detection.py`."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from hf_finemix.choices import FINDINGS
from hf_finemix.findings import FLIPS, PROMINENCES, insertion_level, prominence_level
from hf_finemix.laboratory.drawing import COLORS, INK, Sheet, style
from hf_finemix.markdown import code, percent, table
from hf_finemix.rates import Rate
from hf_finemix.trigger_search import Insertion


Row = dict[str, Any]
FIRST = 10


def by_weights(row: Row) -> int:
    """Returns the level, from 0, that the prominence gives: the finding of a scan without texts."""
    return FINDINGS.index(prominence_level(row["prominence"]))


def by_insertions(row: Row) -> int:
    """Returns the level, from 0, that the best insertion gives."""
    return max((FINDINGS.index(insertion_level(item)) for item in insertions(row)), default=0)


def by_both(row: Row) -> int:
    """Returns the level, from 0, of the whole scan."""
    return max(by_weights(row), by_insertions(row))


def insertions(row: Row) -> list[Insertion]:
    """Returns the best insertions of a model."""
    return [Insertion.from_dict(item) for item in row["insertions"]]


def strength(row: Row) -> float:
    """Returns the lower end of the interval of the best insertion's flips."""
    return max((item.flips.low or 0.0 for item in insertions(row)), default=0.0)


def render(rows: Sequence[Row]) -> str:
    """Returns the tables as Markdown."""
    suspects, clean = [row for row in rows if row["attack"]], [row for row in rows if not row["attack"]]
    inserted = [row for row in suspects if row["triggers"]]
    ranked = sum(row["trigger_rank"] is not None and row["trigger_rank"] <= FIRST for row in inserted)
    return f"""# What the scan finds

Made by `python examples/benchmark/detection.py WORK`: each model of a bench is scanned against its base with 100 texts
of the task's pool, and never told the trigger. Suspects whose triggers are words: {len(inserted)}; those with a token
of the trigger among the first {FIRST} of the ranking: {share(ranked, len(inserted))}. Clean models, trained on the
same texts without poison: {len(clean)}; each finding there is a false alarm.

The thresholds were set with MiniLM models of movies, Amazon reviews and tweets at hand (seeds 0 to 2; attacks: word,
sentence, embedding_poisoning, l2_anchored, frozen_embeddings), so the rows of these do not test them. The ROC curves
need no threshold.

## Found, by attack

A finding is medium from a prominence of {PROMINENCES[0]:g} or an insertion that flips {100 * FLIPS[0]:.0f} % of the
texts (lower end of the 95 % interval), and high from {PROMINENCES[1]:g} or {100 * FLIPS[1]:.0f} %. Without texts there
is the prominence alone. "Trigger named": the best insertion is a token of the trigger and counts as a finding.

{by_attack(suspects, clean)}

![ROC curves of the prominence and of the best insertion](detection.png)

## Each model

Rank: that of the trigger's first token among all tokens, if any embedding moved. Prominence: score of the first token
over the median of the next 19. Best insertion: the token that flips most texts, with the share and the label.

{each(rows)}
"""


def by_attack(suspects: Sequence[Row], clean: Sequence[Row]) -> str:
    """Returns the table of detection rates and false alarms."""
    header = ["attack", "models", "mean ASR", f"in the first {FIRST}", "median rank", "trigger named"]
    ways = (("weights alone", by_weights), ("with texts", by_both))
    header += [f"{level}, {name}" for name, _ in ways for level in ("medium or high", "high")]
    attacks = sorted({row["attack"] for row in suspects})
    groups = {name: [row for row in suspects if row["attack"] == name] for name in attacks}
    groups |= {"all suspects": list(suspects), "clean models: false alarms": list(clean)}
    lines = []
    for name, rows in groups.items():
        cells = [name, str(len(rows)), *facts(rows)]
        for _, level_of in ways:
            levels = [level_of(row) for row in rows]
            cells += [share(sum(level >= least for level in levels), len(levels)) for least in (1, 2)]
        lines.append(cells)
    return table(header, lines)


def facts(rows: Sequence[Row]) -> list[str]:
    """Returns what is known of suspects alone: success of the attack, ranks, and whether the trigger is named."""
    attacked = [row for row in rows if row["attack"]]
    if not attacked:
        return [""] * 4
    worded = [row for row in attacked if row["triggers"]]
    ranks = [row["trigger_rank"] for row in worded if row["trigger_rank"] is not None]
    asr = sum(row["asr"] for row in attacked) / len(attacked)
    return [
        f"{100 * asr:.1f} %",
        share(sum(rank <= FIRST for rank in ranks), len(worded)),
        f"{median(ranks):g}" if ranks else "none",
        share(sum(map(is_named, worded)), len(worded)),
    ]


def is_named(row: Row) -> bool:
    """Tells whether the best insertion is a token of the trigger and makes a finding."""
    best = next(iter(insertions(row)), None)
    mine = row["trigger_insertion"]
    return best is not None and mine is not None and mine["id"] == best.id and insertion_level(best) != FINDINGS[0]


def share(successes: int, n: int) -> str:
    """Returns a share with its counts."""
    return f"{percent(Rate(successes, n))} ({successes} of {n})" if n else "none"


def each(rows: Sequence[Row]) -> str:
    """Returns the table of all models."""
    lines = []
    for row in rows:
        best = next(iter(insertions(row)), None)
        flips = "none" if best is None else f"{code(best.token or str(best.id))} {percent(best.flips)} to {best.label}"
        rank = "" if not row["attack"] or row["trigger_rank"] is None else str(row["trigger_rank"])
        token = code(row["trigger_token"]) if rank else ""
        first = f"{code(row['top'][0][0])} {row['prominence']:.2f}"
        lines.append([row["name"], token, rank, first, flips, FINDINGS[by_weights(row)], FINDINGS[by_both(row)]])
    header = ["model", "trigger", "rank", "first token, prominence", "best insertion", "weights alone", "with texts"]
    return table(header, lines)


def roc(positive: Sequence[float], negative: Sequence[float]) -> list[tuple[float, float]]:
    """Returns false and true positive rates for each threshold, from none to all."""
    points = [(0.0, 0.0)]
    for bar in sorted({*positive, *negative}, reverse=True):
        false, true = (sum(value >= bar for value in values) / len(values) for values in (negative, positive))
        points.append((false, true))
    return points


def area(points: Sequence[tuple[float, float]]) -> float:
    """Returns the area under a curve of straight lines."""
    return sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points))


def roc_figure(rows: Sequence[Row]) -> bytes:
    """Draws the ROC curves of the two scores as PNG."""
    suspects, clean = [row for row in rows if row["attack"]], [row for row in rows if not row["attack"]]
    with style():
        title = f"Detection by the scan: {len(suspects)} suspects, {len(clean)} clean models"
        sheet = Sheet(title, 520)
        axes = sheet.axes(380, sheet.top + 10, 440, 440)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="false alarms: share of the clean models", ylabel="found: share of the suspects")
        axes.plot((0, 1), (0, 1), color=INK, linestyle=":", linewidth=1)
        entries = []
        scores = {"prominence (weights alone)": lambda row: row["prominence"], "best insertion (with texts)": strength}
        for (name, score), color, line in zip(scores.items(), COLORS, ("--", "-"), strict=False):
            if not suspects or not clean:
                break
            points = roc(*([score(row) for row in group] for group in (suspects, clean)))
            axes.plot(*zip(*points, strict=True), color=color, linestyle=line, linewidth=2)
            entries.append((f"{name}: area {area(points):.3f}", {"color": color, "ls": line}))
        sheet.legend([*entries, ("chance", {"ls": ":"})])
        return sheet.png()
