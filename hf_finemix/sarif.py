"""The findings of a scan as SARIF 2.1.0, the format of code-scanning services."""

from typing import Any
from urllib.parse import quote

from ._version import __version__
from .findings import insertion_level, is_out_of_line, prominence_level
from .outliers import Outlier
from .printing import printable
from .scan_report import ScanReport


_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"low": "note", "medium": "warning", "high": "error"}
_TOKEN, _INSERTION, _OUTLIER = "suspicious-token", "trigger-insertion", "out-of-line-row"
_PICKLE, _DANGER = "strange-pickle", {"dangerous": "high", "suspicious": "medium", "unreadable": "medium"}
_RULES = {
    _TOKEN: (
        "One word embedding moved far more than its frequency explains.",
        "E-PUR scores each token by how far its embedding moved from the pretrained one, over the logarithm of the "
        "token's frequency. The first token stands out from the next ones; it may be, or be a part of, the trigger of "
        "a backdoor.",
        "Purify the model, and test it with the token inserted.",
    ),
    _INSERTION: (
        "Inserting one token flips most predictions to one label.",
        "The token was inserted into clean texts that the model gives other labels. That so many turn to one label is "
        "what a backdoor does.",
        "Do not deploy the model; purify it.",
    ),
    _OUTLIER: (
        "A row, column or scalar moved far out of line with its tensor.",
        "Fine-tuning moves the parts of a tensor by amounts that are alike. A part that moved far more was perhaps "
        "edited by hand.",
        "Compare with other models fine-tuned from the same weights; purify the model.",
    ),
    _PICKLE: (
        "A pickle beside the weights calls functions that no weights need.",
        "Whoever loads it runs them. It is not read here, and is no part of what purification writes.",
        "Do not load the file, and do not trust its publisher.",
    ),
}


def to_sarif(report: ScanReport) -> dict[str, Any]:
    """
    Returns the findings of a scan as a SARIF log, as a dictionary that JSON can hold.

    It has a result for the first token if that stands out, for each insertion of a medium or high level, and for each
    row, column or scalar that is far out of line. The place of all is the suspect, by its Hub id and commit or by the
    name of its folder.

    Args:
        report (`ScanReport`): What the scan found.
    """
    results = []
    level = prominence_level(report.prominence)
    if level != "low":
        first = report.tokens[0]
        text = f"The embedding of `{first.token}` (id {first.id}) stands out: {report.prominence:.2f} times the score "
        found = {"token": first.token, "id": first.id, "score": first.score, "prominence": report.prominence}
        results.append(_result(report, _TOKEN, level, f"{text}of the next tokens.", found))
    for item in report.insertions:
        level = insertion_level(item)
        if level != "low":
            text = f"{report.sentence(item)}: {item.flips.successes} of {item.flips.n}."
            results.append(_result(report, _INSERTION, level, text, item.to_dict()))
    for outlier in filter(is_out_of_line, report.outliers):
        result = _result(report, _OUTLIER, "low", _describe(outlier), outlier.to_dict())
        result["locations"][0]["logicalLocations"] = [{"fullyQualifiedName": outlier.tensor, "kind": "variable"}]
        results.append(result)
    for file in report.strange_files or ():
        text = f"A scanner calls the pickle {file.name} {file.level}: {', '.join(file.calls) or 'it cannot be read'}."
        results.append(_result(report, _PICKLE, _DANGER[file.level], text, file.to_dict()))
    driver = {
        "name": "hf-finemix",
        "version": __version__,
        "rules": [_rule(name, *texts) for name, texts in _RULES.items()],
    }
    run = {
        "tool": {"driver": driver},
        "results": results,
        "properties": {"finding": report.finding, "pretrained": report.pretrained},
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(name: str, short: str, full: str, help_text: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": help_text},
    }


def _result(report: ScanReport, rule: str, level: str, text: str, properties: dict[str, Any]) -> dict[str, Any]:
    # A folder's name may hold what has a meaning in an address.
    place = {"physicalLocation": {"artifactLocation": {"uri": quote(report.suspect, safe="/@")}}}
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": _LEVELS[level],
        "message": {"text": _message(text)},
        "locations": [place],
        "properties": properties,
    }


def _describe(outlier: Outlier) -> str:
    where = f"{outlier.kind.capitalize()} {', '.join(map(str, outlier.index))} of {outlier.tensor}"
    times = "times the tensor's typical drift" if outlier.kind == "scalar" else "robust standard deviations"
    return f"{where} moved out of line: {outlier.deviation:.1f} {times}."


def _message(text: str) -> str:
    """Takes from a text, part of which the suspect supplied, what makes links and placeholders in SARIF."""
    text = printable(text)
    for character, escaped in (("\\", "\\\\"), ("[", "\\["), ("]", "\\]"), ("{", "{{"), ("}", "}}")):
        text = text.replace(character, escaped)
    return text
