"""What people do on a page of the app: with a mouse, or with a keyboard alone."""

import re
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page


MINUTE = 60_000
# What a screen reader says of what has the focus, roughly.
_NAME = """() => {
    const at = document.activeElement;
    const words = at.getAttribute("aria-label") || (at.labels && at.labels[0] && at.labels[0].innerText);
    return (words || at.innerText || "").trim();
}"""
_IS_SEEN = """() => {
    const at = document.activeElement;
    const marked = (one) => {
        const style = getComputedStyle(one);
        return style.outlineStyle !== "none" || style.boxShadow !== "none";
    };
    return [at, at.parentElement, at.closest("label")].some((one) => one && marked(one));
}"""


def button(page: "Page", name: str) -> "Locator":
    """A button by its exact name."""
    return page.get_by_role("button", name=name, exact=True)


def field(page: "Page", label: str) -> "Locator":
    """A field by its label, without the words that explain it."""
    return page.locator("label").filter(has=page.get_by_text(label, exact=True)).locator("input, textarea")


def upload(page: "Page", name: str, path: "Path") -> None:
    """Chooses a file, and waits until it is there."""
    page.locator(f"#{name} input[type=file]").set_input_files(path)
    page.locator(f"#{name}").get_by_text(path.stem).first.wait_for()


def wait_for(page: "Page", selector: str, text: str, minutes: float = 15) -> str:
    """Waits until a place of the page says something, which is no error; gives all that it says."""
    place = page.locator(selector)
    place.filter(has_text=re.compile(text)).wait_for(timeout=minutes * MINUTE)
    assert place.locator("[role=alert]").count() == 0, place.inner_text()
    return place.inner_text()


class Keyboard:
    """Somebody who has no mouse: moves by the tab key, and reads what has the focus."""

    def __init__(self, page: "Page"):
        self.page = page

    def go_to(self, words: str, most: int = 60) -> None:
        """Presses the tab key until what has the focus is called so; one must see that it has."""
        passed = []
        for _ in range(most):
            self.page.keyboard.press("Tab")
            passed.append(self.page.evaluate(_NAME))
            if passed[-1].startswith(words):
                assert self.page.evaluate(_IS_SEEN), f"nobody sees that {words!r} has the focus"
                return
        raise AssertionError(f"the tab key does not lead to {words!r}, but to {passed}")

    def fill(self, words: str, text: str) -> None:
        """Writes into a field."""
        self.go_to(words)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def press(self, words: str) -> None:
        """Presses a button."""
        self.go_to(words)
        self.page.keyboard.press("Enter")
