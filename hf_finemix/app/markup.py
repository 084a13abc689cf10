"""Pieces of HTML. Every string that comes in is taken for a stranger's and escaped."""

import html
from collections.abc import Sequence

from ..printing import printable
from ..progress import Step


_LONGEST_CELL = 200


def escape(text: object, limit: int = _LONGEST_CELL) -> str:
    """Returns a string as text for HTML: no markup, no control or direction characters, of bounded length."""
    return html.escape(printable(str(text)[:limit]))


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> str:
    """
    Returns a table that scrolls sideways by itself where it is too wide.

    Args:
        caption (`str`): What it shows; read out before it.
        header (`Sequence[str]`): Names of the columns.
        rows (`Sequence[Sequence]`): The cells; the first of each row names it.
        words (`int`, *optional*, defaults to 1): How many columns, from the left, hold words; the others hold numbers.
    """
    kinds = ["" if column < words else ' class="number"' for column in range(len(header))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(header, kinds, strict=True))
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(others, kinds[1:], strict=True))
        + "</tr>"
        for first, *others in rows
    )
    # It can be scrolled with the keyboard, which needs a name and a place in the order of the tab key.
    return (
        f'<div class="scrolls" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def paragraph(text: str) -> str:
    """Returns a paragraph."""
    return f"<p>{escape(text, 2000)}</p>"


def folded(summary: str, content: str) -> str:
    """Returns HTML that is shown when its summary is opened."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def status(text: str) -> str:
    """Returns a line that says that something is done; read out when it appears."""
    return f'<p class="done" role="status">{escape(text, 500)}</p>'


def alert(text: str) -> str:
    """Returns a line that says that something is wrong; read out at once."""
    return f'<p class="wrong" role="alert">{escape(text, 500)}</p>'


def progress(step: Step, seconds: float) -> str:
    """Returns how far a piece of work is."""
    name = escape(step.name[:1].upper() + step.name[1:])
    if step.total:
        bar = f'<progress max="{step.total}" value="{step.done}" aria-label="{name}"></progress>'
        count = f"{step.done:,} of {step.total:,}"
    else:
        bar, count = f'<progress aria-label="{name}"></progress>', ""
    return (
        f'<div class="progress"><p><strong>{name}</strong> <span>{count}</span> '
        f"<span>{_clock(seconds)}</span></p>{bar}</div>"
    )


def frame(document: str, title: str) -> str:
    """
    Returns a whole document of ours in a frame, where scripts run that reach nothing of the page.

    Args:
        document (`str`): The document.
        title (`str`): What it is; read out before it.
    """
    # Without `allow-same-origin` it is a stranger to the page: no storage, no requests in the visitor's name.
    return (
        f'<iframe class="report" title="{escape(title)}" sandbox="allow-scripts" referrerpolicy="no-referrer" '
        f'srcdoc="{html.escape(document)}"></iframe>'
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
