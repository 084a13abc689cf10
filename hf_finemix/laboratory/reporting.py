"""`write_report()`: the results of a bench as a report, tables and figures."""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..markdown import escape
from ..output import replace_text
from .claims import Claim, claims
from .comparisons import comparisons
from .condition import attack_rows, speed
from .e_pur import gains, rank_rows
from .effect_sections import (
    comparisons_section,
    e_pur_section,
    frontier_section,
    matched_section,
    ranks_section,
    ratios_section,
    sizes_section,
)
from .effects import ratio_effects, size_effects
from .figures import Drawing, draw
from .matched import MARGINS, main_margin, matched_rows, matches, points
from .results import CELLS, Results
from .sections import (
    attacks_section,
    averages_section,
    claims_section,
    defences_section,
    failures_section,
    speed_section,
    triggers_section,
)
from .summary import Average, averages, distinct, main_cells, overview
from .tables import Section


REPORT, TABLES, FIGURES = "report.md", "tables", "figures"
_OURS = re.compile(rf"(?<!\\)\]\(((?:{TABLES}|{FIGURES})/[a-z0-9_-]+\.(?:csv|png))\)")


@dataclass(frozen=True)
class Report:
    """
    The results of a bench, summed up.

    Args:
        claims (`tuple[Claim, ...]`): The paper's claims with their answers.
        averages (`tuple[Average, ...]`): The figures of every defence, averaged over tasks and attacks.
        sections (`tuple[Section, ...]`): All tables.
        drawings (`tuple[Drawing, ...]`): All figures.
        introduction (`str`): What to know before reading, as Markdown.
    """

    claims: tuple[Claim, ...]
    averages: tuple[Average, ...]
    sections: tuple[Section, ...]
    drawings: tuple[Drawing, ...]
    introduction: str

    def paths(self) -> list[str]:
        """Returns the path of each figure below the report's folder, no two of them the same."""
        found: list[str] = []
        for drawing in self.drawings:
            stem = "-".join(_slug(name) for name in drawing.names)
            number, path = 2, f"{FIGURES}/{stem}.png"
            while path in found:
                number, path = number + 1, f"{FIGURES}/{stem}-{number}.png"
            found.append(path)
        return found

    def to_markdown(self) -> str:
        """Returns the report as Markdown, with its figures and links to its tables."""
        parts = ["# Attacks and defences", self.introduction]
        figures = list(zip(self.paths(), self.drawings, strict=True))
        for section in self.sections:
            here = [(path, drawing.title) for path, drawing in figures if drawing.section == section.name]
            parts.append(section.to_markdown(here))
        return "\n\n".join(parts) + "\n"


def make_report(results: Results, margins: Sequence[float] = MARGINS) -> Report:
    """
    Sums up the results of a bench, finished or not.

    Args:
        results ([`Results`]): What was measured.
        margins (`Sequence[float]`, *optional*): How much accuracy may be lost where defences are compared at matched
            accuracy, as shares.
    """
    given, results = results, distinct(results)
    answers, means = claims(results, margins), averages(results)
    rows, ranks = overview(results), rank_rows(results)
    sizes, ratios = size_effects(results), ratio_effects(results)
    sections = (
        claims_section(answers),
        averages_section(means, averages(results, shared=True)),
        attacks_section(attack_rows(results)),
        defences_section(rows),
        triggers_section(rows),
        matched_section(matched_rows(matches(results, margins))),
        frontier_section(points(results.cells)),
        e_pur_section(gains(results)),
        ranks_section(ranks),
        sizes_section(sizes),
        ratios_section(ratios),
        comparisons_section(comparisons(results)),
        failures_section(results.failures),
        speed_section(speed(results)),
    )
    # What has nothing to show is left out, except that nothing failed.
    shown = tuple(section for section in sections if section.rows or section.name == "failures")
    drawings = draw(rows, points(main_cells(results)), sizes, ratios, ranks)
    return Report(answers, means, shown, drawings, _introduction(given, results))


def write_report(results: Results, folder: str | Path, margins: Sequence[float] = MARGINS) -> tuple[Path, ...]:
    """
    Writes report.md, tables/*.csv and figures/*.png.

    Each file is replaced as a whole. What an earlier report in the folder refers to and this one does not is removed.

    Args:
        results ([`Results`]): What was measured.
        folder (`str` or `Path`): Where to; made if need be.
        margins (`Sequence[float]`, *optional*): See [`make_report`].

    Returns:
        `tuple[Path, ...]`: The files, report.md first.

    Raises:
        InputError: If the folder cannot be written.
    """
    return save_report(make_report(results, margins), folder)


def save_report(report: Report, folder: str | Path) -> tuple[Path, ...]:
    """Writes a report that was made; see [`write_report`]."""
    folder = Path(folder)
    try:
        for part in (TABLES, FIGURES):
            (folder / part).mkdir(parents=True, exist_ok=True)
        earlier = _files(folder)
        written = []
        for section in report.sections:
            if section.rows:
                written.append(folder / TABLES / f"{section.name}.csv")
                replace_text(written[-1], section.to_csv())
        for path, drawing in zip(report.paths(), report.drawings, strict=True):
            written.append(folder / path)
            _replace_bytes(written[-1], drawing.png)
        for path in earlier - set(written):
            path.unlink(missing_ok=True)
        replace_text(folder / REPORT, report.to_markdown())
    except OSError as error:
        raise InputError(f"The report cannot be written to {str(folder)!r}: {error.strerror}.") from None
    return (folder / REPORT, *written)


def _introduction(given: Results, results: Results) -> str:
    parts = []
    if given.missing:
        planned = len(given.config[CELLS])
        parts.append(f"**Unfinished:** {len(given.missing)} of {planned} cells have no result yet.")
    dropped = len(given.cells) - len(results.cells) + len(given.suspects) - len(results.suspects)
    if dropped:
        parts.append(
            f"**{dropped} results left out:** another one has the same task, model, attack, seed, defence and number "
            "of clean examples. They come from different configurations in one folder."
        )
    margin = 100 * main_margin(results)
    allowed = f"{margin:g} {'point' if margin == 1 else 'points'}"
    sizes = sorted({cell.clean_examples for cell in main_cells(results)})
    many = len({cell.clean_examples for cell in results.cells}) > len(sizes)
    parts += [
        "ACC: accuracy without a trigger. ASR: examples with the trigger, of other labels than the target, that are "
        "predicted as the target. Flip rate: the same among those that are right without the trigger. RA: those that "
        "are still given their true label. The clean model never saw the backdoor: compare ASR with its ASR, never "
        "with zero.",
        "In brackets: 95 % Wilson interval of one seed. ±: sample standard deviation over several seeds. A setting is "
        f"chosen on held-out clean examples: the strongest that is at most {allowed} less "
        "accurate on them than the suspect.",
    ]
    if many:
        parts.append(
            f"Where nothing else is said, the defender has {escape(' or '.join(map(str, sizes)))} clean examples."
        )
    return "\n\n".join(parts)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:60] or "x"


def _files(folder: Path) -> set[Path]:
    report = folder / REPORT
    text = report.read_text(encoding="utf-8", errors="replace") if report.is_file() else ""
    return {folder / name for name in _OURS.findall(text)}


def _replace_bytes(path: Path, content: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix=".finemix-", dir=path.parent) as staging:
        file = Path(staging) / path.name
        file.write_bytes(content)
        os.replace(file, path)
