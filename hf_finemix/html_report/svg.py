"""Figures of matplotlib as SVG for a page: in its colours, light or dark, with its fonts, and a tip for each mark."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..printing import printable


if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Colours that the page replaces by its own; no figure has them for anything else.
INK, FAINT, PAPER = "#010203", "#040506", "#070809"
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)", PAPER: "var(--paper)"}
# The palette of Okabe and Ito but for its lightest and darkest: seen on light and on dark paper, by colour-blind
# readers, too.
COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDTH = 5.2
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "savefig.facecolor": "none",
    # Text stays text: it can be read aloud, found and copied.
    "svg.fonttype": "none",
    "svg.hashsalt": "hf-finemix",
    "text.color": INK,
    # A dollar sign in a label of a suspect is a dollar sign.
    "text.parse_math": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@contextmanager
def style() -> Iterator[None]:
    """Draws in the page's own style, whatever the user's settings are."""
    from matplotlib.style import context

    with context(["default", _STYLE]):
        yield


def new_figure(height: float) -> "Figure":
    """Returns an empty figure of the page's width and a height in inches; to be called within [`style`]."""
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="constrained")


def to_svg(figure: "Figure", name: str, label: str, tips: Mapping[str, str]) -> str:
    """
    Returns a figure as an SVG element; to be called within [`style`].

    Args:
        figure (`Figure`): The figure.
        name (`str`): What its ids begin with: they must be unique in the page.
        label (`str`): What it shows, in words.
        tips (`Mapping[str, str]`): Text to show over each mark, by the mark's `gid`.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Of scripts that its own font lacks, which the reader's browser has.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    # What is parsed is matplotlib's own output.
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", _styled(element.attrib["style"]))
    for parent in root.iter():
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
            elif (text := tips.get(child.get("id", ""))) is not None:
                title = ElementTree.Element(f"{{{_SVG}}}title")
                title.text = printable(text)
                child.insert(0, title)
    _rename(root, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"class": "chart", "role": "img", "aria-label": printable(label)}
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _styled(style: str) -> str:
    """Returns a style with the page's colours, and the reader's font for matplotlib's."""
    style = re.sub(r"(?<=font: )([\d.]+px) [^;]+", r"\1 var(--font)", style)
    return re.sub("|".join(_VARIABLES), lambda found: _VARIABLES[found[0]], style)


def _rename(root: ElementTree.Element, name: str) -> None:
    """Takes away the ids that nothing refers to, and makes the others the figure's own."""
    values = [value for element in root.iter() for name, value in element.attrib.items() if name != "aria-label"]
    used = {name for value in values for name in re.findall(r"(?:url\(#|^#)([\w-]+)", value)}
    for element in root.iter():
        if (own := element.get("id")) is not None:
            if own in used:
                element.set("id", f"{name}-{own}")
            else:
                del element.attrib["id"]
        for attribute, value in element.attrib.items():
            if attribute not in ("id", "aria-label"):
                value = re.sub(r"url\(#", f"url(#{name}-", value)
                element.set(attribute, re.sub(r"^#", f"#{name}-", value) if attribute.endswith("href") else value)
