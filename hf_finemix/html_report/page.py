"""The HTML report of a purification: one file with all that it needs, beside the card."""

import base64
import hashlib
import json
import os
import re
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from .._version import __version__
from ..card_sections import tone, verdict
from ..differences import Differences
from ..errors import InputError, reason
from ..manifest import Manifest
from ..output import replace_text
from ..printing import printable
from ..results import PurificationReport
from .content import make_sections
from .markup import to_html
from .parts import HTML_FILE, Cell


# A page of the largest report stays far below.
_LARGEST = 1 << 26
_DATA = re.compile(r'<script type="application/json" id="changed">(.*?)</script>', re.DOTALL)


def render_html(
    title: str, report: PurificationReport, manifest: Manifest, differences: Differences | None = None
) -> str:
    """
    Renders the report of a purification as one HTML page.

    It fetches nothing, and its policy forbids it to; it can be read without JavaScript, which only sorts and filters.

    Args:
        title (`str`): Name of the model.
        report ([`~hf_finemix.results.PurificationReport`]): The record of the job.
        manifest ([`~hf_finemix.manifest.Manifest`]): What went in and what came out.
        differences ([`~hf_finemix.differences.Differences`], *optional*): Examples that are labelled differently now.

    Returns:
        `str`: HTML; the same for the same data and the same version of matplotlib.
    """
    script = _asset("report.js")
    # No other script runs, even if one found its way in.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = _cell
    return environment.from_string(_asset("report.html")).render(
        title=printable(title),
        tone=tone(report),
        verdict=to_html(verdict(report)),
        sections=make_sections(report, manifest, title, differences),
        made_by=report.made_by,
        architecture=report.architecture,
        version=__version__,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
        style=Markup(_asset("report.css")),
        script=Markup(script),
        data=None if differences is None else Markup(_as_data(differences)),
        is_number=lambda value: isinstance(value, (int, float)),
    )


def write_html(
    folder: Path,
    title: str,
    report: PurificationReport,
    manifest: Manifest,
    differences: Differences | None = None,
) -> Path:
    """
    Writes the report of a purification as finemix_report.html into a folder; takes what [`render_html`] takes.

    Returns:
        `Path`: The file.
    """
    path = folder / HTML_FILE
    replace_text(path, render_html(title, report, manifest, differences))
    return path


def read_differences(folder: Path) -> Differences | None:
    """
    Reads the examples that a page holds, as any file of a stranger; `None` if there is no page, or it holds none.

    Raises:
        InputError: If the page is damaged.
    """
    path = folder / HTML_FILE
    if not os.path.lexists(path):
        return None
    try:
        if path.is_symlink() or not path.is_file():
            raise ValueError("it is no file")
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        found = _DATA.search(path.read_text(encoding="utf-8"))
        return None if found is None else Differences.from_dict(json.loads(found[1]))
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is damaged ({reason(error, 120)}); remove it.") from None


def _as_data(differences: Differences) -> str:
    # Nothing in it can end the element that it stands in.
    return json.dumps(differences.to_dict(), allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return files("hf_finemix.html_report").joinpath(name).read_text(encoding="utf-8")


def _cell(value: Cell) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else value
