"""The sections of a report that show what was measured: claims, averages, attacks, defences, failures."""

from collections.abc import Sequence
from typing import Any

from ..markdown import code, escape
from .claims import Claim
from .condition import AttackRow, Speed
from .estimates import Estimate, Figures
from .records import CellRecord, SuspectRecord
from .summary import DEFENSE, Average, Row, groups
from .tables import OUTSIDE, Block, Section, blocks, columns, heading, of_e_pur, percent, points, short


def claims_section(claims: Sequence[Claim]) -> Section:
    """Returns the paper's claims with their answers."""
    note = (
        "Claims of “Fine-mixing” (Zhang et al., Findings of EMNLP 2022), answered from the figures of this bench "
        "alone. “not measured” says what is missing."
    )
    header = ("claim", "model", "answer", "figures")
    rows = [
        (f"{c.number}. {escape(c.statement, 300)}", escape(c.model), f"**{c.answer}**", escape(c.figures, 5000))
        for c in claims
    ]
    return Section("claims", "Claims", note, _dicts(claims), blocks("", header, rows, 4))


def averages_section(averages: Sequence[Average], shared: Sequence[Average]) -> Section:
    """Returns the mean figures of every defence over tasks and attacks: over those that all have, and over its own."""
    note = (
        "Means over pairs of task and attack; ± is the standard deviation of these means over the seeds. Where some "
        "defences were run on fewer suspects than others, the first table has those alone that all were run on; in "
        "the second, rows of different pairs do not compare."
    )
    rows, shown = [], []
    for is_shared, averaged in ((True, shared), (False, averages)):
        for average in averaged:
            rates = _columns(average, ("accuracy", "asr", "flip_rate", "ra"))
            counts = {"measured": average.measured, "planned": average.planned, "shared": is_shared}
            rows.append({"model": average.model, **_names(average), **rates, **counts})
    for model, group in groups(averages, lambda average: average.model).items():
        common = [average for average in shared if average.model == model]
        if common and common != group:
            shown += _averages_block(heading(model, "suspects of all defences"), common)
            shown += _averages_block(heading(model, "all suspects"), group)
        else:
            shown += _averages_block(heading(model), group)
    return Section("averages", "Averages", note, tuple(rows), tuple(shown))


def _averages_block(title: str, averages: Sequence[Average]) -> tuple[Block, ...]:
    header = ("in %", "E-PUR", "ACC", "ASR", "flip rate", "RA", "pairs")
    cells = [
        (
            *_label(average),
            *map(percent, (average.accuracy, average.asr, average.flip_rate, average.ra)),
            f"{average.measured} of {average.planned}",
        )
        for average in averages
    ]
    return blocks(title, header, cells)


def attacks_section(attacks: Sequence[AttackRow]) -> Section:
    """Returns whether the attacks work."""
    note = (
        "An attack works if its ASR is at least 90 % and it costs at most 2 points of accuracy, against the clean "
        "model of the same seed. A defence against an attack that does not work shows little."
    )
    header = ("task", "model", "attack", "ACC of the clean model", "ACC of the suspect", "ASR", "ACC lost", "works")
    rows, cells = [], []
    for row in attacks:
        rates = _columns(row, ("baseline", "accuracy", "asr", "lost"))
        rows.append({"task": row.task, "model": row.model, "attack": row.attack, **rates, "works": row.works})
        names = (escape(row.task), escape(row.model), escape(row.attack))
        works = {None: "not measured", True: "yes", False: "**no**"}[row.works]
        cells.append((*names, *map(percent, (row.baseline, row.accuracy, row.asr)), points(row.lost), works))
    return Section("attacks", "Attacks", note, tuple(rows), blocks("", header, cells, 3))


def defences_section(overview: Sequence[Row]) -> Section:
    """Returns the figures of every defence, per task: ACC and ASR of all attacks, then all figures of each."""
    note = (
        "Figures of the setting that was chosen on held-out clean examples. First ACC / ASR of all attacks, then each "
        f"attack by itself. {OUTSIDE}: with one seed or more, no setting kept the accuracy within the margin, and the "
        "most accurate one is shown. Of several triggers, ASR, flip rate and RA are means; the worst has a column."
    )
    rows, shown = [], []
    for row in overview:
        rates = _columns(row.figures, ("accuracy", "asr", "worst", "flip_rate", "ra"))
        counts = {"seeds": row.seeds, "within_margin": row.within_margin}
        rows.append({"task": row.task, "model": row.model, "attack": row.attack, **_names(row), **rates, **counts})
    for (task, model), group in groups(overview, lambda row: (row.task, row.model)).items():
        attacks = groups(group, lambda row: row.attack)
        shown += _compact(heading(task, model), attacks)
        for attack, of in attacks.items():
            several = any(len(row.figures.triggers) > 1 for row in of)
            header = ("in %", "E-PUR", "ACC", "ASR", *(["worst ASR"] if several else []), "flip rate", "RA", "seeds")
            shown += blocks(heading(task, model, attack), header, [_detail(row, several) for row in of])
    return Section("defences", "Defences", note, tuple(rows), tuple(shown))


def _compact(title: str, attacks: dict[str, list[Row]]) -> tuple[Block, ...]:
    found: dict[tuple, dict[str, str]] = {}
    for attack, rows in attacks.items():
        for row in rows:
            figures = f"{short(row.figures.accuracy)} / {short(row.figures.asr)}{_mark(row)}"
            found.setdefault((*_label(row), row.method), {})[attack] = figures
    header = ("ACC / ASR in %", "E-PUR", *(escape(attack) for attack in attacks))
    return blocks(title, header, [(*key[:2], *(of.get(name, "") for name in attacks)) for key, of in found.items()])


def _detail(row: Row, several: bool) -> tuple[str, ...]:
    found: Figures = row.figures
    rates: list[Estimate | None] = [found.accuracy, found.asr, *([found.worst] if several else [])]
    cells = [percent(rate) for rate in (*rates, found.flip_rate, found.ra)]
    cells[0] += _mark(row)
    return (*_label(row), *cells, str(row.seeds))


def triggers_section(overview: Sequence[Row]) -> Section:
    """Returns the ASR of each trigger of attacks that have several."""
    note = "ASR of each trigger by itself."
    rows, shown = [], []
    several = [row for row in overview if len(row.figures.triggers) > 1]
    for key, group in groups(several, lambda row: (row.task, row.model, row.attack)).items():
        triggers = list({(item.trigger, item.position): None for row in group for item in row.figures.triggers})
        cells = []
        for row in group:
            found = {(item.trigger, item.position): item.asr for item in row.figures.triggers}
            cells.append((*_label(row), *(percent(found.get(trigger)) for trigger in triggers)))
            for item in row.figures.triggers:
                names = {"task": row.task, "model": row.model, "attack": row.attack, **_names(row)}
                rows.append({**names, "trigger": item.trigger, "position": item.position, **columns("asr", item.asr)})
        header = ("ASR in %", "E-PUR", *(code(trigger) for trigger, _ in triggers))
        shown += blocks(heading(*key), header, cells)
    return Section("triggers", "Triggers", note, tuple(rows), tuple(shown))


def failures_section(failures: Sequence[SuspectRecord | CellRecord]) -> Section:
    """Returns what failed, and why."""
    rows = []
    for record in failures:
        is_cell = isinstance(record, CellRecord)
        rows.append(
            {
                "task": record.task,
                "model": record.model,
                "attack": record.attack,
                "seed": record.seed,
                "defense": record.defense if is_cell else "",
                "e_pur": record.e_pur if is_cell else None,
                "clean_examples": record.clean_examples if is_cell else None,
                "reason": record.error,
            }
        )
    keys = ("task", "model", "attack", "defense", "reason")
    counted = groups(rows, lambda row: tuple(row[key] for key in keys))
    cells = [
        (*map(escape, key[:3]), escape(key[3]) or "(the suspect)", escape(key[4]), str(len(group)))
        for key, group in counted.items()
    ]
    header = ("task", "model", "attack", "defence", "reason", "how many")
    return Section("failures", "Failures", "" if rows else "None.", tuple(rows), blocks("", header, cells, 5))


def speed_section(speed: Speed) -> Section:
    """Returns how long the bench took."""
    rate = "" if speed.cells_per_hour is None else f": {speed.cells_per_hour:.1f} cells an hour, one at a time"
    note = (
        f"{speed.cells} cells in {speed.cell_seconds / 3600:.2f} hours{rate}. {speed.suspects} suspects in "
        f"{speed.suspect_seconds / 3600:.2f} hours."
    )
    return Section("speed", "Speed", note, _dicts([speed]), ())


def _dicts(items: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(vars(item)) for item in items)


def _columns(entry: Any, names: Sequence[str]) -> dict[str, float | int | None]:
    return {key: value for name in names for key, value in columns(name, getattr(entry, name)).items()}


def _names(entry: Row | Average) -> dict[str, Any]:
    is_defence = entry.role == DEFENSE
    return {
        "role": entry.role,
        "defense": entry.defense if is_defence else "",
        "method": entry.method,
        "e_pur": entry.e_pur if is_defence else None,
    }


def _label(entry: Row | Average) -> tuple[str, str]:
    if entry.role == DEFENSE:
        return escape(entry.defense), of_e_pur(entry.e_pur)
    return f"*{entry.role}*", of_e_pur(None)


def _mark(row: Row) -> str:
    return "" if row.within_margin == row.seeds else f" {OUTSIDE}"
