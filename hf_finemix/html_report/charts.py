"""The charts of the HTML report: figures before and after, the frontier, drift, tokens, and the plan."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..printing import printable
from ..rates import Rate
from ..records import ScannedGroup, SearchRecord
from ..report import Evaluation
from ..resets import TokenScore
from .svg import COLORS, FAINT, INK, MARKERS, PAPER, new_figure, style, to_svg


if TYPE_CHECKING:
    from matplotlib.axes import Axes


_SHOWN_TOKENS = 20
# Of more layers only the colour is shown.
_NUMBERED_LAYERS = 40
# A stranger's report may list any number of things; no model that is real has more.
_MOST_MODELS, _MOST_TRIALS, _MOST_GROUPS = 12, 40, 1000
_LAYER = re.compile(r"layer (\d+) (.+)")


def draw_rates(evaluations: dict[str, Evaluation]) -> str:
    """
    Draws the rates of all models with their intervals, those of the worst trigger of the last measurement included.

    Args:
        evaluations (`dict[str, Evaluation]`): Figures by model; the suspect first.
    """
    evaluations = dict(list(evaluations.items())[:_MOST_MODELS])
    rows = _rates(evaluations)
    tips, models = {}, list(evaluations)
    height = 0.5 + 0.2 * len(rows) * (len(models) + 1)
    with style():
        figure = new_figure(height + 0.22 * -(-len(models) // 2))
        axes = figure.add_subplot()
        for number, model in enumerate(models):
            look = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
            axes.plot([], [], linestyle="", label=_short(model, 30), **look)
            for row, (name, rates) in enumerate(rows):
                rate = rates[number]
                if rate is None or not rate.n:
                    continue
                up = row + (number + 1) / (len(models) + 1) - 0.5
                gid = f"rate-{row}-{number}"
                axes.plot([100 * rate.low, 100 * rate.high], [up, up], color=look["color"], linewidth=1.5)
                axes.plot([100 * rate.value], [up], gid=gid, linestyle="", markersize=7, **look)
                tips[gid] = f"{model}, {name}: {rate}"
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        _percent(axes)
        axes.set_xlim(-2, 102)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, handletextpad=0.2)
        said = "; ".join(
            f"{name}: " + ", ".join(f"{model} {_words(rate)}" for model, rate in zip(models, rates, strict=True))
            for name, rates in rows
        )
        return to_svg(figure, "rates", f"Rates before and after, with 95 % intervals. {said}.", tips)


def draw_frontier(search: SearchRecord) -> str | None:
    """Draws the ratios that were tried: agreement on held-out examples against flips by the control; maybe none."""
    trials = [(number, trial) for number, trial in enumerate(search.trials[:_MOST_TRIALS]) if trial.agreement.n]
    trials = [(number, trial) for number, trial in trials if trial.control.after.n]
    if not trials:
        return None
    tips = {}
    with style():
        figure = new_figure(3.2)
        axes = figure.add_subplot()
        for number, trial in trials:
            chosen = number == search.chosen
            color, gid = COLORS[0 if chosen else 1], f"trial-{number}"
            across, up = trial.agreement, trial.control.after
            axes.plot([100 * across.low, 100 * across.high], [100 * up.value] * 2, color=color, linewidth=1)
            axes.plot([100 * across.value] * 2, [100 * up.low, 100 * up.high], color=color, linewidth=1)
            marker = "D" if chosen else "o"
            axes.plot([100 * across.value], [100 * up.value], marker, color=color, markersize=8, gid=gid)
            axes.annotate(f"  {trial.keep_ratio:g}", (100 * across.value, 100 * up.value), color=INK, va="bottom")
            name = f"keep ratio {trial.keep_ratio:g}{' (chosen)' if chosen else ''}"
            tips[gid] = f"{name}: agreement {across}, control flips {up}"
        axes.set_xlabel("held-out examples with their label or the suspect's answer, %")
        axes.set_ylabel("flips by the positive control, %")
        axes.set_ylim(-3, 103)
        axes.grid(True)
        said = "; ".join(tips.values())
        return to_svg(figure, "frontier", f"Keep ratios that were tried. {said}.", tips)


def draw_drift(groups: Sequence[ScannedGroup]) -> str:
    """
    Draws how far each layer's modules moved, as a map: layers down, modules across.

    Args:
        groups (`Sequence[ScannedGroup]`): At least one; from [`~hf_finemix.drift_groups.drift_by_group`].
    """
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm
    from matplotlib.patches import Rectangle

    matches = [(group, _LAYER.fullmatch(group.group)) for group in groups[:_MOST_GROUPS]]
    columns = list(dict.fromkeys(match[2] for _, match in matches if match)) or ["all"]
    rows = list(dict.fromkeys(f"layer {match[1]}" if match else group.group for group, match in matches))
    numbered = len(rows) <= _NUMBERED_LAYERS
    # A pooler may have moved ten times as far as the layers, among which the differences are to be seen all the same.
    scale = PowerNorm(0.4, 0, max(group.relative_drift for group in groups) or 1.0)
    tips = {}
    with style():
        figure = new_figure(0.7 + (0.26 if numbered else 0.12) * len(rows))
        axes = figure.add_subplot()
        for number, (group, match) in enumerate(matches):
            row = rows.index(f"layer {match[1]}" if match else group.group)
            start, wide = (columns.index(match[2]), 1) if match else (0, len(columns))
            color, gid = colormaps["cividis"](scale(group.relative_drift)), f"cell-{number}"
            place = {"facecolor": color, "edgecolor": PAPER, "linewidth": 1, "gid": gid}
            axes.add_patch(Rectangle((start, row), wide, 1, **place))
            tips[gid] = (
                f"{group.group}: moved by {_share(group.relative_drift)} of its norm ({group.scalars:,} scalars)"
            )
            if numbered:
                light = 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2] > 0.45
                inked = {"color": "#000000" if light else "#FFFFFF", "fontsize": 8.5}
                axes.text(start + wide / 2, row + 0.5, _share(group.relative_drift), ha="center", va="center", **inked)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([number + 0.5 for number in range(len(columns))], [_short(name, 24) for name in columns])
        axes.set_yticks([number + 0.5 for number in range(len(rows))], [_short(row, 24) for row in rows])
        axes.tick_params(length=0, labelsize=10 if numbered else 6)
        axes.xaxis.tick_top()
        axes.spines[:].set_visible(False)
        most = max(groups, key=lambda group: group.relative_drift)
        label = f"Relative drift of {len(groups)} groups of parameters; most in {most.group}."
        return to_svg(figure, "drift", label, tips)


def draw_tokens(tokens: Sequence[TokenScore], triggers: frozenset[int]) -> str:
    """
    Draws the scores of the most suspicious tokens.

    Args:
        tokens (`Sequence[TokenScore]`): At least one, the most suspicious first.
        triggers (`frozenset[int]`): Ids of those that flip predictions by themselves.
    """
    shown, tips = tokens[:_SHOWN_TOKENS], {}
    with style():
        figure = new_figure(0.6 + 0.2 * len(shown))
        axes = figure.add_subplot()
        for row, token in enumerate(shown):
            gid, works = f"token-{row}", token.id in triggers
            look = {"color": COLORS[0 if works else 1], "hatch": "///" if works else None, "edgecolor": PAPER}
            axes.barh([row], [float(token.score)], height=0.75, linewidth=0, **look)[0].set_gid(gid)
            tips[gid] = f"{named(token)}: score {token.score:.4g}{', flips predictions by itself' if works else ''}"
        axes.set_yticks(range(len(shown)), [_short(named(token), 24) for token in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("E-PUR score")
        axes.locator_params(axis="x", nbins=5)
        axes.grid(True, axis="x")
        some = ", ".join(named(token) for token in shown[:5])
        label = f"Scores of the {len(shown)} most suspicious tokens, first {some}."
        return to_svg(figure, "tokens", label, tips)


def draw_shares(parts: Sequence[tuple[str, int]]) -> str:
    """
    Draws what became of the scalars of a model as one bar.

    Args:
        parts (`Sequence[tuple[str, int]]`): What was done, and to how many scalars; not all of them 0.
    """
    total, start, tips = sum(count for _, count in parts), 0.0, {}
    with style():
        figure = new_figure(0.55 + 0.24 * len(parts))
        axes = figure.add_subplot()
        for number, (name, count) in enumerate(parts):
            gid, share = f"part-{number}", 100 * count / total
            place = {"left": start, "color": COLORS[number % len(COLORS)], "edgecolor": PAPER, "linewidth": 0.8}
            axes.barh([0], [share], height=0.6, label=f"{name}: {count:,} ({share:.2f} %)", **place)[0].set_gid(gid)
            tips[gid] = f"{name}: {count:,} scalars, {share:.2f} %"
            start += share
        axes.set_xlim(0, 100)
        axes.set_axis_off()
        figure.legend(loc="outside lower left", frameon=False)
        return to_svg(figure, "shares", f"What became of the scalars. {'; '.join(tips.values())}.", tips)


def named(token: TokenScore) -> str:
    """Returns a token's text, or its number if it has none."""
    return f"id {token.id}" if token.token is None else printable(token.token)


def _rates(evaluations: dict[str, Evaluation]) -> list[tuple[str, list[Rate | None]]]:
    measured = list(evaluations.values())
    answers = any(item.perplexity is not None for item in measured)
    rows = [("token accuracy" if answers else "ACC", [item.accuracy for item in measured])]
    # The same trigger for all: the one that is worst for the model that is handed out.
    worst = evaluations.get("purified", measured[-1]).worst
    if worst is not None:
        index = evaluations.get("purified", measured[-1]).triggers.index(worst)
        rows.append(("ASR", [item.triggers[index].asr for item in measured]))
        rows.append(("flip rate", [item.triggers[index].flip_rate for item in measured]))
    return rows


def _percent(axes: "Axes") -> None:
    axes.set_xlabel("%")
    axes.grid(True, axis="x", color=FAINT)


def _short(text: str, limit: int) -> str:
    plain = printable(text)
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"


def _words(rate: Rate | None) -> str:
    return "no examples" if rate is None or not rate.n else f"{100 * rate.value:.1f} %"


def _share(drift: float) -> str:
    return f"{100 * drift:.1f} %" if drift < 10 else f"{drift:.0f} times"
