"""The frontier of a search as a figure: accuracy against what is left of the positive control, ratio by ratio."""

import io

from .records import FigureRecord, SearchRecord


FRONTIER_FILE = "figures/frontier.png"
_SIZE, _DPI = (6.4, 4.0), 150
# Blue and vermilion of the palette of Okabe and Ito, which colour-blind readers can tell apart.
_KEPT, _CHOSEN, _INK = "#0072B2", "#D55E00", "#222222"


def draw_frontier(search: SearchRecord) -> bytes | None:
    """
    Draws the frontier.

    Args:
        search ([`~hf_finemix.records.SearchRecord`]): The search.

    Returns:
        `bytes`, *optional*: A PNG, the same for the same search; `None` if no example is there to measure the control
        on.
    """
    trials = [
        (number, trial) for number, trial in enumerate(search.trials) if trial.control.after.n and trial.agreement.n
    ]
    if not trials:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, trial in trials:
        color = _CHOSEN if number == search.chosen else _KEPT
        across, up = trial.agreement, trial.control.after
        axes.errorbar(
            100 * across.value,
            100 * up.value,
            xerr=[[100 * (across.value - across.low)], [100 * (across.high - across.value)]],
            yerr=[[100 * (up.value - up.low)], [100 * (up.high - up.value)]],
            fmt="D" if number == search.chosen else "o",
            color=color,
            elinewidth=0.8,
        )
        axes.annotate(f" {trial.keep_ratio:g}", (100 * across.value, 100 * up.value), color=_INK, va="bottom")
    axes.set_xlabel("held-out examples with their label, or the suspect's answer (%)")
    axes.set_ylabel("flips by the positive control (%)")
    axes.set_ylim(-3, 103)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def describe_frontier(search: SearchRecord) -> FigureRecord:
    """Returns the record of the figure: where it lies, and what it shows in words."""
    chosen = search.trials[search.chosen]
    tried = ", ".join(f"{trial.keep_ratio:g}" for trial in search.trials)
    return FigureRecord(
        FRONTIER_FILE,
        f"Accuracy on held-out examples against flips by the positive control, for the keep ratios {tried}.",
        f"One point a keep ratio, with 95 % intervals; {chosen.keep_ratio:g} (diamond) was chosen.",
    )
