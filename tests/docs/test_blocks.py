"""Every block of code of the documentation is executed, page by page."""

import pytest

from hf_finemix.attacks.base import ATTACKS
from hf_finemix.defenses.base import DEFENSES

from ..world import make_world
from .pages import all_pages, find_blocks
from .running import Reader


PAGES = [page for page in all_pages() if find_blocks(page)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with make_world(tmp_path_factory.mktemp("documentation")) as world:
        yield world


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of(page, world, tmp_path, monkeypatch, capsys):
    # What a page registers is forgotten after it.
    for registry in (ATTACKS, DEFENSES):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    reader = Reader.begin(page, world, tmp_path, monkeypatch, capsys)
    for block in find_blocks(page):
        try:
            reader.follow(block)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{block} cannot be followed: {error}") from error
