"""Sentences of the card, which are Markdown, as HTML."""

from functools import cache

from markdown_it import MarkdownIt
from markupsafe import Markup


@cache
def _renderer() -> MarkdownIt:
    # No HTML passes; of links only those with a scheme of the web, and no picture, which would be fetched.
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    # A wide table scrolls by itself, by keyboard, too.
    renderer.add_render_rule("table_open", lambda *_: '<div class="scroll" role="group" tabindex="0"><table>\n')
    renderer.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return renderer


def to_html(text: str) -> Markup:
    """
    Renders Markdown as HTML that holds no script, no style and no picture, whatever the text holds.

    Args:
        text (`str`): Markdown.
    """
    # A figure and its sign stay on one line.
    return Markup(_renderer().render(text.replace(" %", "\N{NO-BREAK SPACE}%")))
