"""A page of a browser that notes what goes wrong in it, and every address that it asks for."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit


if TYPE_CHECKING:
    from playwright.sync_api import Page


# What a page may ask for without the network.
_LOCAL = ("data", "blob", "about", "file")
# The tags of axe-core that stand for the Web Content Accessibility Guidelines at level AA, and its own good practice.
_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}


@dataclass
class Watched:
    """
    A page and what was noted.

    Args:
        page ([`~playwright.sync_api.Page`]): The page.
        errors (`list[str]`): Errors in its console, and exceptions that nobody caught.
        requests (`list[str]`): Every address that it asked for.
    """

    page: "Page"
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def strangers(self, origin: str = "") -> list[str]:
        """Returns the addresses that it asked for beyond an origin such as `http://127.0.0.1:7860`."""
        own = urlsplit(origin).netloc
        found = map(urlsplit, self.requests)
        return [item.geturl() for item in found if item.scheme not in _LOCAL and item.netloc != own]


def axe(page: "Page", context: Any = None) -> list[dict[str, Any]]:
    """
    Returns what axe-core holds against a page, worst first: each violation's rule, impact, and elements.

    Args:
        page ([`~playwright.sync_api.Page`]): The page.
        context (`Any`, *optional*): What of it to look at, as axe-core takes it; by default all of it.
    """
    from axe_playwright_python.sync_playwright import Axe

    order = ("critical", "serious", "moderate", "minor")
    found = Axe().run(page, context, _RULES).response["violations"]
    shown = [
        {
            "rule": item["id"],
            "impact": item["impact"],
            "help": item["help"],
            "elements": [f"{' '.join(map(str, node['target']))}: {node['html'][:200]}" for node in item["nodes"]],
        }
        for item in found
    ]
    return sorted(shown, key=lambda item: order.index(item["impact"]))
