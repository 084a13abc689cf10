"""Two hands in one card: the part that is generated, and what its owner wrote around it."""

import hashlib
import json
import re
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from .manifest import CardSeal
from .serialization import read_yaml


BEGIN = "<!-- hf-finemix: the text from here to the closing mark is generated; write your own before or after it -->"
END = "<!-- hf-finemix: end of the generated text -->"

# Keys that describe the weights: an old value is wrong once these are replaced.
_ABOUT_WEIGHTS = ("model-index", "base_model", "base_model_relation", "library_name", "pipeline_tag", "metrics")
_UNIONS = ("tags", "datasets")
# Keys that an owner decides on, whatever we suggest.
_OWNERS = ("license",)
# Sections that this or another report would have: an old one is ours, even where the new card lacks it.
_OURS = frozenset(
    f"## {title}"
    for title in (
        "Lineage",
        "Threat model",
        "Recipe",
        "Figures",
        "Metrics of the training script",
        "Choice of the keep ratio",
        "Frontier",
        "Positive control",
        "Distillation",
        "Adapter",
        "Reset tokens",
        "What was not tested",
        "How to verify",
        "How to load",
        "Environment",
        "Licence",
        "Citation",
    )
)
# Marks stand alone on their lines; in a line they are quoted.
_GENERATED = re.compile(rf"^{re.escape(BEGIN)}$(.*?)^{re.escape(END)}$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## .+$", re.MULTILINE)
_ANY_HEADING = re.compile(r"^#{1,6} .+$", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(?:(`{3,})[^`\n]*$|(~{3,}).*$)(?s:.*?)(?:^ {0,3}(?:\1`*|\2~*)[ \t]*$|\Z)", re.MULTILINE)


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """
    Splits a card into its metadata and its body.

    Raises:
        ValueError: If the metadata cannot be read.
    """
    match = REGEX_YAML_BLOCK.match(text)
    if match is None:
        return {}, text
    try:
        header = read_yaml(match[2])
    except ValueError as error:
        raise ValueError(f"its metadata are no YAML: {error}") from None
    header = {} if header is None else header
    if not isinstance(header, dict) or not all(isinstance(key, str) for key in header):
        raise ValueError("its metadata are no mapping of names")
    return header, text[match.end() :]


def join_card(header: dict[str, Any], body: str) -> str:
    """Puts metadata and body together."""
    dumped = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=4096).strip()
    return f"---\n{dumped}\n---\n\n{_trim(body)}\n"


def generated_part(body: str) -> str | None:
    """Returns the generated text of a body, without its marks; `None` if the marks are not there."""
    match = _GENERATED.search(body)
    return None if match is None else match[1].strip()


def card_title(card: str) -> str | None:
    """Returns the title of a card's generated part, `None` if it has none."""
    first = (generated_part(card) or "").split("\n", 1)[0]
    return re.sub(r"\\(.)", r"\1", first[2:]).strip() or None if first.startswith("# ") else None


def merge_cards(existing: str, new: str, chosen: tuple[str, ...] = ()) -> str:
    """
    Puts a newly made card into the place of an old one, and keeps what the owner wrote.

    Kept are text before and after the generated part, sections that the owner put into it under a heading of their
    own, and metadata that we do not write. A card without a generated part is kept whole, below the new one. Of two
    sections with the same heading around the generated part the new card's is taken.

    Args:
        existing (`str`): The old card.
        new (`str`): The new one.
        chosen (`tuple[str, ...]`, *optional*): Keys of the new metadata that somebody asked for by name.

    Raises:
        ValueError: If the metadata of the old card cannot be read.
    """
    old_header, old_body = split_card(existing)
    header, body = split_card(new)
    own = {key: value for key, value in old_header.items() if key not in header and key not in _ABOUT_WEIGHTS}
    merged = header | own
    for key in _UNIONS:
        values = [*_strings(header.get(key)), *_strings(old_header.get(key))]
        if values:
            merged[key] = list(dict.fromkeys(values))
    for key in _OWNERS:
        if old_header.get(key) is not None and key not in chosen:
            merged[key] = old_header[key]
    before, generated, after = _parts(body)
    old_before, old_generated, old_after = _parts(old_body)
    inside = [section for section in _sections(old_generated, _ANY_HEADING)[1:] if _heading(section) not in _OURS]
    present = {_heading(section) or section for section in (*_sections(before), *_sections(after))}
    before = [*_missing(_sections(old_before), present), *_sections(before)]
    after = [*_sections(after), *_missing([*inside, *_sections(old_after)], present)]
    return join_card(merged, "\n\n".join([*before, BEGIN, generated, END, *after]))


def seal(card: str, keys: tuple[str, ...] | None = None) -> CardSeal:
    """
    Returns the proof of a card's generated part.

    Args:
        card (`str`): The card.
        keys (`tuple[str, ...]`, *optional*): Keys of the metadata that count as generated; all of them by default.

    Raises:
        ValueError: If the metadata cannot be read, or the marks of the generated part are not there.
    """
    header, body = split_card(card)
    text = generated_part(body)
    if text is None:
        raise ValueError("the marks of its generated part are not there")
    keys = tuple(header) if keys is None else keys
    values = json.dumps([[key, header.get(key)] for key in keys], ensure_ascii=False, default=str)
    return CardSeal(keys, hashlib.sha256(f"{values}\n{text}".encode()).hexdigest())


def _parts(body: str) -> tuple[str, str, str]:
    # Without the marks all of a card is its owner's, and stands below what is generated.
    match = _GENERATED.search(body)
    return ("", "", body) if match is None else (body[: match.start()], match[1].strip(), body[match.end() :])


def _sections(text: str, heading: re.Pattern[str] = _HEADING) -> list[str]:
    """Splits text at its headings of the second level; what stands before the first is a section, too."""
    # Headings inside of code blocks are no headings.
    blank = _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    starts = [0, *(match.start() for match in heading.finditer(blank) if match.start())]
    pieces = (_trim(text[start:end]) for start, end in zip(starts, [*starts[1:], len(text)], strict=True))
    return [piece for piece in pieces if piece]


def _heading(section: str) -> str:
    first = section.split("\n", 1)[0].strip()
    return first if _ANY_HEADING.match(first) else ""


def _trim(text: str) -> str:
    # Spaces before the first line may make it code.
    return text.rstrip().lstrip("\n")


def _missing(sections: list[str], present: set[str]) -> list[str]:
    return [section for section in sections if (_heading(section) or section) not in present]


def _strings(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    return [item for item in values if isinstance(item, str)] if isinstance(values, list) else []
