"""The defence card: README.md of a purified model, made from one data class and one template."""

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import jinja2

from . import card_figures as figures
from . import card_sections as sections
from .card_merge import BEGIN, END, join_card, merge_cards, seal, split_card
from .card_metadata import metadata, pipeline_tag
from .card_recipe import recipe_code, recipe_yaml
from .errors import InputError
from .licenses import common_license, license_id
from .loading import CARD_FILE
from .manifest import MANIFEST_FILE, CardSeal
from .markdown import escape, one_line, source
from .results import REPORT_FILE, PurificationReport


_LARGEST = 1 << 20


@dataclass(frozen=True)
class DefenseCard:
    """
    All that a defence card says.

    Args:
        report ([`~hf_finemix.results.PurificationReport`]): The record of the job.
        title (`str`): Name of the model.
        repo_id (`str`, *optional*): Where on the Hub it is, or will be.
        license (`str`, *optional*): Licence that the publisher states; by default the one that suspect and base share.
        language (`str`, *optional*): Language of the model, as a code.
        tags (`tuple[str, ...]`, *optional*): Tags beside ours.
        datasets (`tuple[str, ...]`, *optional*): Ids of Hub data sets beside those of the report.

    Raises:
        InputError: If the licence is no id of the Hub.
    """

    report: PurificationReport
    title: str
    repo_id: str | None = None
    license: str | None = None
    language: str | None = None
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()

    def __post_init__(self):
        if self.license is not None and license_id(self.license) is None:
            raise InputError(
                f"`license` is {self.license!r}, but must be a licence id of the Hub, such as apache-2.0."
            )


def render_card(card: DefenseCard) -> str:
    """
    Renders a card.

    Args:
        card ([`DefenseCard`]): What it says.

    Returns:
        `str`: Markdown with a YAML header that the Hub understands; the same for the same data.
    """
    report = card.report
    chosen = card.license or common_license(report.licenses)
    header = metadata(report, card.title, chosen, card.tags, card.datasets).to_dict()
    if card.language:
        header = {"language": card.language} | header
    template = files("hf_finemix").joinpath("templates/defense_card.md").read_text(encoding="utf-8")
    language, code = recipe_code(report, card.title)
    body = jinja2.Template(template, trim_blocks=True, keep_trailing_newline=True).render(
        card=card,
        report=report,
        sections=sections,
        figures=figures,
        title=escape(card.title),
        where=_where(card),
        task=pipeline_tag(report.architecture),
        suspect=source(report.suspect),
        pretrained=source(report.pretrained),
        shared=report.shared_examples,
        license=chosen,
        recipe_language=language,
        recipe_yaml=recipe_yaml(report),
        recipe_code=code,
        manifest_file=MANIFEST_FILE,
        report_file=REPORT_FILE,
        environment=", ".join(f"{escape(name)} {escape(number)}" for name, number in report.environment.items()),
    )
    return join_card(header, f"{BEGIN}\n\n{body.strip()}\n\n{END}")


def update_card(card: DefenseCard, existing: str | None = None) -> tuple[str, CardSeal]:
    """
    Renders a card in the place of an existing one, whose owner's own parts are kept.

    Returns:
        `tuple[str, CardSeal]`: The card, and the proof of its generated part.

    Raises:
        InputError: If the existing card cannot be read.
    """
    try:
        asked = () if card.license is None else ("license",)
        if existing is not None and not asked:
            card = replace(card, license=license_id(split_card(existing)[0].get("license")))
        text = generated = render_card(card)
        if existing is not None:
            text = merge_cards(existing, generated, asked)
        return text, seal(text, tuple(split_card(generated)[0]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"The existing {CARD_FILE} cannot be updated: {error}; repair or remove it.") from None


def read_card(folder: Path) -> str | None:
    """
    Returns the card of a folder, `None` if there is none.

    Raises:
        InputError: If it cannot be read as text.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{str(path)!r} is no readable text; repair or remove it.") from None
    if len(text) > _LARGEST:
        raise InputError(f"{str(path)!r} is larger than any card; repair or remove it.")
    return text


def _where(card: DefenseCard) -> str:
    return "path/to/this/folder" if card.repo_id is None else one_line(card.repo_id)
