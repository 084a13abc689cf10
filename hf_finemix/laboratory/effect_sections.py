"""The sections of a report that take it apart: matched accuracy, E-PUR, ranks, clean examples, ratios, tests."""

from collections.abc import Sequence
from typing import Any

from ..markdown import escape
from .comparisons import Comparison
from .e_pur import Gain, RankRow
from .effects import KEEP_RATIO, Effect
from .matched import MatchedRow, Point
from .summary import groups
from .tables import MISSING, Section, blocks, columns, heading, of_e_pur, percent, points, short


def matched_section(rows: Sequence[MatchedRow]) -> Section:
    """Returns the ASR of every defence at matched accuracy."""
    note = (
        "The lowest mean ASR of any setting whose accuracy on the **test** examples is at most so many points below "
        "the suspect's, averaged over the attacks and seeds that every defence of the task was tried on; the lowest "
        "with E-PUR and the lowest without it are bold (the suspect left as it is does not count). This is an "
        "analysis of the frontier, and no protocol for choosing a setting: it looks at test accuracy and at the "
        "attack, which no defender can. “(2 of 3)” counts the suspects on which some setting keeps that accuracy; on "
        "the others, where nothing can be done at that price, the suspect's own ASR counts."
    )
    shown = []
    for (task, model), group in groups(rows, lambda row: (row.task, row.model)).items():
        margins = sorted({row.margin for row in group})
        cells = []
        for key, of in groups(group, lambda row: (row.defense, row.method, row.e_pur)).items():
            found = {row.margin: _matched(row) for row in of}
            cells.append((escape(key[0]), of_e_pur(key[2]), *(found.get(margin, MISSING) for margin in margins)))
        header = ("ASR in %", "E-PUR", *(f"{100 * margin:g} lost" for margin in margins))
        shown += blocks(heading(task, model), header, cells)
    tidy = []
    for row in rows:
        names = {"task": row.task, "model": row.model, "defense": row.defense, "method": row.method}
        counts = {"reached": row.reached, "tried": row.tried, "suspects": row.suspects, "lowest": row.lowest}
        tidy.append({**names, "e_pur": row.e_pur, "margin": row.margin, **columns("asr", row.asr), **counts})
    return Section("matched", "ASR at matched accuracy", note, tuple(tidy), tuple(shown))


def _matched(row: MatchedRow) -> str:
    if row.asr is None:
        return MISSING
    kept = "" if row.reached == row.suspects else f" ({row.reached} of {row.suspects})"
    return f"**{percent(row.asr)}**{kept}" if row.lowest else f"{percent(row.asr)}{kept}"


def frontier_section(found: Sequence[Point]) -> Section:
    """Returns all settings of all defences; for reading there are figures."""
    note = "Every setting of every defence on every suspect, the chosen ones and the others."
    rows = tuple({**vars(point), "setting": point.setting_text} for point in found)
    return Section("frontier", "Accuracy against attack success", note, rows, ())


def e_pur_section(gains: Sequence[Gain]) -> Section:
    """Returns what E-PUR changes."""
    note = (
        "The same suspects with E-PUR and without it, averaged over tasks and seeds. Lowered: ASR without minus ASR "
        "with. Distance: ASR with E-PUR minus that of the clean model, of whose ordinary errors an ASR can consist. "
        "Level: on how many suspects the ASR of every trigger lies within the clean model's 95 % interval or below."
    )
    header = (
        "attack",
        "defence",
        "ASR without",
        "ASR with",
        "lowered",
        "ACC changed",
        "clean model's ASR",
        "distance",
        "level",
        "suspects",
    )
    shown, rows = [], []
    for model, group in groups(gains, lambda gain: gain.model).items():
        cells = []
        for gain in group:
            level = f"{gain.at_baseline} of {gain.with_baseline}" if gain.with_baseline else MISSING
            names = (escape(gain.attack), escape(gain.defense))
            rates = (percent(gain.without), percent(gain.asr), points(gain.lowered), points(gain.accuracy))
            cells.append((*names, *rates, short(gain.baseline), points(gain.distance), level, str(gain.cells)))
        shown += blocks(heading(model), header, cells, 2)
    for gain in gains:
        names = {"model": gain.model, "attack": gain.attack, "defense": gain.defense, "method": gain.method}
        rates = {}
        for name in ("without", "asr", "lowered", "accuracy", "baseline", "distance"):
            rates |= columns(name, getattr(gain, name))
        counts = {"at_baseline": gain.at_baseline, "with_baseline": gain.with_baseline, "suspects": gain.cells}
        rows.append({**names, **rates, **counts})
    return Section("e_pur", "What E-PUR changes", note, tuple(rows), tuple(shown))


def ranks_section(ranks: Sequence[RankRow]) -> Section:
    """Returns where E-PUR ranks the triggers."""
    note = (
        "Rank of a trigger among all tokens, by source of the token counts; of several tokens, the one that ranks "
        "first. Reset: how many are among the tokens that E-PUR resets by default."
    )
    header = ("attack", "model", "token counts", "median rank", "worst rank", "reset", "tokens")
    cells = [
        (
            escape(row.attack),
            escape(row.model),
            escape(row.frequencies),
            f"{row.median:g}",
            str(row.worst),
            f"{row.reset} of {len(row.ranks)}",
            str(row.vocabulary),
        )
        for row in ranks
    ]
    rows = [
        {
            "model": row.model,
            "attack": row.attack,
            "frequencies": row.frequencies,
            "median": row.median,
            "worst": row.worst,
            "reset": row.reset,
            "triggers": len(row.ranks),
            "vocabulary": row.vocabulary,
        }
        for row in ranks
    ]
    return Section("ranks", "Where E-PUR ranks the triggers", note, tuple(rows), blocks("", header, cells, 3))


def effects_section(name: str, title: str, note: str, effects: Sequence[Effect]) -> Section:
    """Returns how ACC and ASR move with a parameter; see [`~hf_finemix.laboratory.effects.Effect`]."""
    shown, rows = [], []
    for (model, attack), group in groups(effects, lambda effect: (effect.model, effect.attack)).items():
        values = sorted({effect.value for effect in group})
        cells = []
        for key, of in groups(group, lambda effect: (effect.defense, effect.method, effect.e_pur)).items():
            found = {e.value: f"{short(e.accuracy)} / {short(e.asr)}" for e in of}
            figures = [found.get(value, MISSING) for value in values]
            cells.append((escape(key[0]), of_e_pur(key[2]), *figures, str(of[0].suspects)))
        header = ("ACC / ASR in %", "E-PUR", *(f"{value:g}" for value in values), "suspects")
        shown += blocks(heading(model, attack), header, cells)
    for effect in effects:
        names = {"model": effect.model, "attack": effect.attack, "defense": effect.defense, "method": effect.method}
        rates = {**columns("accuracy", effect.accuracy), **columns("asr", effect.asr)}
        rows.append({**names, "e_pur": effect.e_pur, name: effect.value, **rates, "suspects": effect.suspects})
    return Section(name, title, note, tuple(rows), tuple(shown))


def sizes_section(effects: Sequence[Effect]) -> Section:
    """Returns the effect of the number of clean examples."""
    note = "By the number of clean examples that the defender has: ACC / ASR of the chosen setting, the same suspects."
    return effects_section("clean_examples", "Number of clean examples", note, effects)


def ratios_section(effects: Sequence[Effect]) -> Section:
    """Returns the effect of the reserve ratio."""
    note = (
        "By the share that is kept: ACC / ASR of every setting, the same suspects. In mixing it is the share of the "
        "scalars that keep the suspect's value; in pruning, the share of the neurons or heads that stay."
    )
    return effects_section(KEEP_RATIO, "Reserve ratio", note, effects)


def comparisons_section(comparisons: Sequence[Comparison]) -> Section:
    """Returns McNemar's tests."""
    note = (
        "On each suspect, the defence with the lowest ASR within the margin against the lowest one of another kind: "
        "exact McNemar tests on the same test examples. Of those with the (first) trigger, how many only the one or "
        "only the other gives the target label; of the clean ones, how many only the one or only the other gets "
        "right. The best is picked by the ASR that is tested, and the p-values are not corrected for their number: "
        "read them as flattered."
    )
    header = ("task", "model", "attack", "seed", "best", "rival", "target", "p", "right", "p")
    cells, rows = [], []
    for c in comparisons:
        sides = [
            f"{escape(label)}{' + E-PUR' if e_pur else ''} ({100 * asr:.1f} %)"
            for label, e_pur, asr in ((c.best, c.best_e_pur, c.best_asr), (c.rival, c.rival_e_pur, c.rival_asr))
        ]
        names = (escape(c.task), escape(c.model), escape(c.attack), str(c.seed))
        cells.append((*names, *sides, *_test(c.triggered), *_test(c.clean)))
        row = {key: value for key, value in vars(c).items() if key not in ("triggered", "clean")}
        rows.append({**row, **_test_columns("triggered", c.triggered), **_test_columns("clean", c.clean)})
    shown = blocks("", header, cells, 3)
    return Section("comparisons", "Best defence against its best rival", note, tuple(rows), shown)


def _test(found: dict[str, Any] | None) -> tuple[str, str]:
    return (MISSING, MISSING) if found is None else (f"{found['b']} : {found['c']}", f"{found['p_value']:.2g}")


def _test_columns(name: str, found: dict[str, Any] | None) -> dict[str, Any]:
    found = found or {}
    return {f"{name}_{key}": found.get(of) for key, of in (("best", "b"), ("rival", "c"), ("p", "p_value"))}
