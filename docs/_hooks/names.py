"""Names for a reader of the screen, which the theme leaves out."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page


_SEARCH = 'data-md-component="search" role="dialog"'


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Names the dialog of the search."""
    return output.replace(_SEARCH, f'{_SEARCH} aria-label="Search"')
