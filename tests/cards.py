"""A rendered defence card, and what Markdown makes of it."""

import re

from markdown_it import MarkdownIt

from hf_finemix.card import DefenseCard, render_card
from hf_finemix.card_merge import split_card


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


def render(report, title="purified", **options):
    return render_card(DefenseCard(report, title, **options))


def section(card, title):
    """The text of one section, without its heading."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)[1].strip()


def titles(card):
    """The headings of the second level."""
    return re.findall(r"^## (.+)$", card, re.MULTILINE)


def blocks(card):
    """The code blocks: language and content."""
    return [(token.info, token.content) for token in MARKDOWN.parse(split_card(card)[1]) if token.type == "fence"]


def tables(markdown, shown=False):
    """The tables of a text: rows of cells, as they are written or as they are shown."""
    found = []
    for token in MARKDOWN.parse(markdown):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 2:
            text = "".join(child.content for child in token.children) if shown else token.content
            found[-1][-1].append(text)
    return found
