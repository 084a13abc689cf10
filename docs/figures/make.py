"""
Draws the figures of the documentation from the raw results under examples/benchmark.

    python docs/figures/make.py
"""

from pathlib import Path

import matplotlib.figure
from matplotlib import rcParams
from matplotlib.axes import Axes

from hf_finemix.laboratory.drawing import COLORS, style
from hf_finemix.laboratory.effects import mean_effects, ratio_effects
from hf_finemix.laboratory.results import Results


HERE = Path(__file__).parent
BENCHMARK = HERE.parents[1] / "examples" / "benchmark"
SUSPECT, PURIFIED, CLEAN = COLORS[1], COLORS[0], COLORS[7]


def suspects() -> list[tuple[str, dict[str, float]]]:
    """Returns name and attack success rates, in percent, of each MiniLM suspect that `automatic` purified."""
    results, rows = Results.load(BENCHMARK / "automatic"), []
    for cell in results.cells:
        if cell.defense != "automatic" or cell.model != "minilm":
            continue
        key = (cell.task, cell.model, cell.attack, cell.seed)
        before = next(item for item in results.suspects if (item.task, item.model, item.attack, item.seed) == key)
        measured = {"suspect": before.evaluation, "purified": cell.result.evaluation, "clean model": before.baseline}
        rates = {name: 100 * item.worst.asr.value for name, item in measured.items()}
        rows.append((f"{cell.task}, {cell.attack.replace('_', ' ')}, seed {cell.seed}", rates))
    return sorted(rows, reverse=True)


def ratios(model: str) -> dict[float, tuple[float, float]]:
    """Returns mean ACC and ASR in percent by reserve ratio, of Fine-mixing without E-PUR, as the report has them."""
    effects = mean_effects(ratio_effects(Results.load(BENCHMARK / "laboratory")))
    found = effects[model, "fine_mixing", "fine_mixing", False]
    return {ratio: (100 * accuracy, 100 * asr) for ratio, (accuracy, asr) in found.items()}


def draw_suspects(axes: Axes) -> None:
    """Draws a line for each suspect, from its attack success rate to that of the purified model."""
    rows = suspects()
    looks = {"suspect": (SUSPECT, "X"), "purified": (PURIFIED, "o"), "clean model": (CLEAN, "|")}
    for height, (_, rates) in enumerate(rows):
        axes.plot([rates["purified"], rates["suspect"]], [height, height], color="#CCCCCC", zorder=1)
    for name, (color, marker) in looks.items():
        axes.scatter([rates[name] for _, rates in rows], range(len(rows)), c=color, marker=marker, s=70, label=name)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xlim(0, 103)
    axes.set_xlabel("attack success rate in %")
    axes.legend(loc="upper center", bbox_to_anchor=(0.35, 1.09), ncols=3, frameon=False)


def draw_ratios(left: Axes, right: Axes) -> None:
    """Draws accuracy and attack success by reserve ratio, for a small and a larger model."""
    for number, (model, title) in enumerate((("minilm", "MiniLM, five tasks"), ("mpnet", "MPNet-base, one task"))):
        points = ratios(model)
        for axes, place in ((left, 0), (right, 1)):
            values = [pair[place] for pair in points.values()]
            axes.plot(list(points), values, marker="os"[number], color=COLORS[number], label=title)
    left.set_ylabel("ACC in %")
    right.set_ylabel("ASR in %")
    right.set_ylim(0, 103)
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.set_xlabel("keep ratio")


def main(folder: Path = HERE) -> None:
    """Writes both figures."""
    with style():
        # The same bytes each time: ids from a fixed salt, no date.
        rcParams["svg.hashsalt"] = "hf-finemix"
        rcParams["svg.fonttype"] = "path"
        figure = matplotlib.figure.Figure(figsize=(9, 5.4), layout="constrained", facecolor="white")
        draw_suspects(figure.subplots())
        figure.savefig(folder / "suspects.svg", metadata={"Date": None})
        figure = matplotlib.figure.Figure(figsize=(9, 3.4), layout="constrained", facecolor="white")
        draw_ratios(*figure.subplots(1, 2))
        figure.savefig(folder / "ratios.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
