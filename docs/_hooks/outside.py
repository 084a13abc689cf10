"""
Pages that lie outside docs/, and links to files of the repository, for the site.

All links in Markdown are those of the repository, so that they work there. Here they become links of the site:
a page outside docs/ becomes a page at the same path, a script or a configuration a page that shows it, anything else a
file to download. There is no copy of them in git.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


REPOSITORY = Path(__file__).parents[2]
# The start page of the site says what README.md says.
RENAMED = {"README.md": "index.md"}
# Where the site says what a section of README.md says.
SECTIONS = {
    "adapters": "how-to/adapter.md",
    "command-line": "reference/command-line.md",
    "compare-attacks-and-defences": "tutorials/compare.md",
    "figures": "benchmark.md",
    "in-a-training-script": "tutorials/trainer.md",
    "language-models": "language-models.md",
    "many-processes": "distributed.md",
    "mix-and-nothing-else": "how-to/mix.md",
    "publish-and-let-strangers-check": "tutorials/publish.md",
    "what-it-does": "method.md",
    "when-to-use-it-and-when-not": "limits.md",
    "without-knowing-the-trigger": "tutorials/hub-model.md",
}
PAGES = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "examples/*.md",
    "examples/benchmark/*.md",
    "model_cards/*.md",
)
REPORT = "examples/benchmark/laboratory/report.md"
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".cff": "yaml", "": "text"}
_FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s]+)(?P<after>\))")
_ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:|#|/")


def outside_pages() -> list[str]:
    """Returns the pages outside docs/, by their paths in the repository."""
    found = [path for pattern in PAGES for path in sorted(REPOSITORY.glob(pattern))]
    return [path.relative_to(REPOSITORY).as_posix() for path in found] + [REPORT]


def links(markdown: str) -> Iterator[re.Match[str]]:
    """Finds the links of a page to other files; what stands in a block of code is none."""
    blocks = [match.span() for match in _FENCE.finditer(markdown)]
    for match in _LINK.finditer(markdown):
        inside = any(start <= match.start() < end for start, end in blocks)
        if not inside and not _ELSEWHERE.match(match["target"]):
            yield match


def linked(page: str, target: str) -> str:
    """Returns the path in the repository of a link's target, without its fragment."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target.split("#")[0]))


def site_path(path: str) -> str:
    """Returns where a path of the repository lies on the site."""
    if path in RENAMED:
        return RENAMED[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".md"):
        return path
    shown = (REPOSITORY / path).is_dir() or posixpath.splitext(path)[1] in _LANGUAGES
    return f"files/{path}.md" if shown else path


def in_repository(page: str) -> str:
    """Returns the path in the repository of a page of the site."""
    own = f"docs/{page}"
    return own if (REPOSITORY / own).is_file() else page


def rewrite(page: str, markdown: str) -> str:
    """Turns the links of a page, named by its path on the site, into links of the site."""
    parts, end = [], 0
    for match in links(markdown):
        target = match["target"]
        path, _, section = target.partition("#")
        place, fragment = site_path(linked(in_repository(page), path)), f"#{section}" if section else ""
        if place == "index.md" and section in SECTIONS:
            place, fragment = SECTIONS[section], ""
        parts += [markdown[end : match.start("target")], posixpath.relpath(place, posixpath.dirname(page) or ".")]
        parts.append(fragment)
        end = match.end("target")
    return "".join([*parts, markdown[end:]])


def show(path: str) -> str:
    """Returns a page that shows a file or the names in a folder."""
    title = f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n"
    found = REPOSITORY / path
    if found.is_dir():
        names = sorted(entry.name for entry in found.iterdir() if entry.is_file())
        return title + "\n".join(f"- `{name}`" for name in names) + "\n"
    text = found.read_text(encoding="utf-8")
    return f"{title}``` {{ .{_LANGUAGES[found.suffix]} .copy }}\n{text.rstrip()}\n```\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside docs/, and what any page links to."""
    pages = {page: (REPOSITORY / page).read_text(encoding="utf-8") for page in outside_pages()}
    for page in pages:
        files.append(File.generated(config, page, abs_src_path=str(REPOSITORY / page)))
    pages |= {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages() if file.src_dir}
    wanted = {linked(page, match["target"]) for page, text in pages.items() for match in links(text)}
    for path in sorted(wanted):
        place = site_path(path)
        # What is missing stays a broken link, of which a strict build complains.
        if path.startswith("docs/") or files.get_file_from_path(place) or not (REPOSITORY / path).exists():
            continue
        if place == path:
            files.append(File.generated(config, place, abs_src_path=str(REPOSITORY / path)))
        else:
            files.append(File.generated(config, place, content=show(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns a page's links into links of the site."""
    return rewrite(page.file.src_uri, markdown)
