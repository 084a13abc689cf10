"""A scan's report as text."""

from ..findings import insertion_level, is_out_of_line
from ..outliers import Outlier
from ..printing import printable
from ..scan_report import ScanReport, token_text
from .console import STYLES, paint, short, table, wrapped


# Each tells of the backdoor as well as ten would; all are in the JSON.
_INSERTIONS = 10


def as_text(report: ScanReport) -> str:
    """Returns the report as tables, with the finding at the end."""
    parts = [_tokens(report), _layers(report), _outliers(report), _head(report), _insertions(report), _finding(report)]
    parts.insert(-1, _strange_files(report))
    return "\n\n".join(part for part in parts if part)


def _tokens(report: ScanReport) -> str:
    rows = [
        [str(item.rank), printable(item.token), str(item.id), f"{item.score:.5f}", f"{item.deviation:.1f}"]
        for item in report.tokens
    ]
    return table(["rank", "token", "id", "score", "deviations"], rows)


def _layers(report: ScanReport) -> str:
    rows = [[item.group, f"{item.scalars:,}", f"{100 * item.relative_drift:.2f} %"] for item in report.layers]
    absent = ", ".join(printable(name) for name in report.absent)
    without = wrapped(f"Without a pretrained counterpart: {absent}.") if absent else ""
    return "\n".join(filter(None, (table(["group", "scalars", "drift"], rows), without)))


def _outliers(report: ScanReport) -> str:
    found = list(filter(is_out_of_line, report.outliers))
    if not found:
        return ""
    rows = [[_where(item), printable(item.tensor), f"{item.drift:.4g}", f"{item.deviation:.1f}"] for item in found]
    return table(["out of line", "tensor", "drift", "deviations"], rows)


def _where(item: Outlier) -> str:
    return f"{item.kind} {', '.join(map(str, item.index))}"


def _head(report: ScanReport) -> str:
    if report.head is None:
        return ""
    rows = []
    for item in report.head.labels:
        ratio = "" if item.ratio is None else f"{item.ratio:.2f}"
        bias = "" if item.bias is None else f"{item.bias:.4f}"
        rows.append([printable(item.label), f"{item.norm:.4f}", ratio, f"{item.cosine:.2f}", bias])
    return table(["label", "norm", "of the others", "cosine", "bias"], rows)


def _strange_files(report: ScanReport) -> str:
    if report.strange_files is None:
        return ""
    if not report.strange_files:
        return "The scanner of pickles warns of no file of the folder."
    rows = [[printable(item.name), item.level, printable(", ".join(item.calls))] for item in report.strange_files]
    return table(["pickle", "scanner says", "calls"], rows)


def _insertions(report: ScanReport) -> str:
    if not report.insertions:
        return ""
    rows = [
        [
            printable(token_text(item.token, item.id)),
            str(item.id),
            str(item.label),
            short(item.flips),
            str(item.flips.n),
        ]
        for item in report.insertions[:_INSERTIONS]
    ]
    levels = [insertion_level(item) for item in report.insertions]
    styles = [STYLES.get(level, "") for level in levels[: len(rows)]]
    shown = table(["inserted", "id", "to label", "flips", "examples"], rows, styles=styles)
    lines = [
        paint(wrapped(f"{printable(report.sentence(item))}."), STYLES[level])
        for item, level in zip(report.insertions, levels, strict=True)
        if level != "low"
    ]
    return "\n".join([shown, *lines[:_INSERTIONS]])


def _finding(report: ScanReport) -> str:
    found = f"prominence {report.prominence:.2f}"
    if report.insertions:
        best = report.insertions[0]
        found += f"; at best {100 * (best.flips.value or 0):.0f} % of the examples flip, of {report.texts} texts"
    lines = [paint(wrapped(f"Finding: {report.finding} ({found})."), STYLES.get(report.finding, "bold"))]
    if report.prominence == 0:
        lines.append(wrapped("No word embedding moved, so that the ranking of the tokens says nothing."))
    return "\n".join([*lines, wrapped("A low finding does not prove that the model is clean.")])
