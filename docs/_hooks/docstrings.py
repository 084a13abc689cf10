"""
Docstrings in the style of Hugging Face, as the reader of Google's style understands them.

Types of arguments stand in the signature already, with their defaults: the parentheses are left out. What a function
returns has its type in backticks, and other names are linked as ``[`~place.name`]``.
"""

import re

import griffe

import hf_finemix


# Where each public name lives, under which others refer to it.
_HOMES = {f"hf_finemix.{home}.{name}": f"hf_finemix.{name}" for name, home in hf_finemix._HOME.items()}
_PUBLIC = {name: f"hf_finemix.{name}" for name in hf_finemix.__all__}
_ARGUMENT = re.compile(r"^(?P<indent> {4,})(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*) \((?:[^()]|\([^()]*\))*\): ?", re.M)
_RETURNED = re.compile(r"^(?P<head>(?:Returns|Yields):\n +)(?P<type>\[?`[^\n]*?`\]?): ", re.M)
_REFERENCE = re.compile(r"\[`(?P<short>~?)(?P<name>[\w.]+)`\]")


def _link(match: re.Match[str]) -> str:
    name = match["name"]
    shown = name.rpartition(".")[2] if match["short"] else name
    whole = _HOMES.get(name) or _PUBLIC.get(name)
    if whole is None and name.startswith("hf_finemix.") and name.count(".") == 1 and shown in _PUBLIC:
        whole = name
    return f"`{shown}`" if whole is None else f"[`{shown}`][{whole}]"


def _argument(match: re.Match[str]) -> str:
    return f"{match['indent']}{match['names']}: "


def _returned(match: re.Match[str]) -> str:
    # Brackets of a type stay those of Python; only a reference to one loses its own.
    kind = _REFERENCE.sub(lambda found: found["name"].rpartition(".")[2], match["type"])
    return f"{match['head']}{kind.replace('`', '')}: "


def translate(text: str) -> str:
    """Returns a docstring with arguments, results and references as the reader wants them."""
    text = _RETURNED.sub(_returned, _ARGUMENT.sub(_argument, text))
    return _REFERENCE.sub(_link, text)


class HuggingFaceStyle(griffe.Extension):
    """Translates each docstring once, when it was read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Translates the docstring of an object, if it has one."""
        if obj.docstring is not None:
            obj.docstring.value = translate(obj.docstring.value)
