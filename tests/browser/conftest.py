"""A real Chromium, with a fresh profile for each page, and without calls home."""

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .watching import Watched


if TYPE_CHECKING:
    from playwright.sync_api import Browser


_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


# Of one module: while Playwright runs, nothing else in this thread can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The browser of this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing (hf-finemix[browser])")
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is missing (hf-finemix[browser])")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser on the PATH: {', '.join(_NAMES)}")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield found
        found.close()


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Watched]]:
    """
    Opens an address in a fresh profile; takes what a context of Playwright takes.

    `visit(url, viewport=PHONE, color_scheme="dark", java_script_enabled=False)`, say; desktop and light by default.
    """
    contexts = []

    def open_page(address: str, **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": DESKTOP, "color_scheme": "light"} | options)
        contexts.append(context)
        # Busy machines draw slowly, and no test is about how fast that is.
        context.set_default_timeout(120_000)
        watched = Watched(context.new_page())
        watched.page.goto(address)
        return watched

    yield open_page
    for context in contexts:
        context.close()
