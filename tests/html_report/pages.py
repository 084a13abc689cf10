"""A page of the HTML report, parsed."""

from html.parser import HTMLParser


_VOID = {"meta", "input", "br", "hr", "link", "img"}


class Page(HTMLParser):
    """
    Elements, text and ids of a page.

    Attributes:
        elements (`list[tuple[str, dict[str, str | None]]]`): All elements with their attributes, in their order.
        said (`str`): All text but that of scripts and styles.
        unbalanced (`list[str]`): End tags that end nothing.
    """

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.unbalanced, self._open, self._said = [], [], [], []
        self.feed(text)
        self.close()

    @property
    def said(self) -> str:
        return " ".join(" ".join(self._said).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Returns the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("script", "style"):
            self._said.append(data)
