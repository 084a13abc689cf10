"""The pages of the documentation, and the blocks of code in them."""

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType


ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)[ \t]*$",
    re.M | re.S,
)
_FENCE = re.compile(r"^ *(?:`{3,}|~{3,})", re.M)
_FILE = re.compile(r"`([\w-]+\.(?:py|yaml|csv|jsonl))`")


@cache
def hook(name: str) -> ModuleType:
    """Returns a hook of the site's build, which lies in no package."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def all_pages() -> list[str]:
    """Returns all pages that are read as documentation, by their paths in the repository."""
    own = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    return ["README.md", *own, *hook("outside").outside_pages()]


@dataclass(frozen=True)
class Block:
    """
    A fenced block.

    Args:
        page (`str`): The page that it stands on.
        line (`int`): Number of its first line.
        language (`str`): What follows the fence.
        text (`str`): Its lines.
        file (`str`, *optional*): The file that the paragraph before it says it is.
    """

    page: str
    line: int
    language: str
    text: str
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.page}, line {self.line} ({self.language or 'no language'})"


def find_blocks(page: str) -> list[Block]:
    """Returns the blocks of a page in their order; a fence that is no part of one is an error."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found, end = [], 0
    for match in _BLOCK.finditer(text):
        before = text[end : match.start()].strip().rsplit("\n\n", 1)[-1]
        named = _FILE.findall(before)
        lines = [line.removeprefix(match["indent"]) for line in match["text"].splitlines(keepends=True)]
        number = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, number, match["language"].strip(), "".join(lines), named[0] if named else None))
        end = match.end()
    assert len(_FENCE.findall(text)) >= 2 * len(found)
    assert not _FENCE.search(_BLOCK.sub("", text)), f"{page} has a fence without its other end"
    return found


def commands(text: str) -> list[str]:
    """Returns the commands of a console block, each on one line, without remarks."""
    joined = re.sub(r"\\\n *", " ", text)
    joined = re.sub(r"\n {4,}", " ", joined)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]
