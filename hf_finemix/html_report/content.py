"""What the HTML report says: sections, charts and tables, made from report, manifest and changed examples."""

from functools import partial

from markupsafe import Markup

from .. import card_figures, card_sections
from ..card_recipe import recipe_code, recipe_yaml
from ..differences import Comparison, Differences
from ..insertion import Insertion
from ..loading import CARD_FILE
from ..manifest import Manifest, SourceRecord
from ..markdown import source
from ..plan import COPIED, KEPT, REFUSED, MixReport
from ..printing import printable
from ..rates import Rate
from ..results import PurificationReport
from . import charts
from .markup import to_html
from .parts import HTML_FILE, Section, Table, limited


def make_sections(
    report: PurificationReport, manifest: Manifest, name: str, differences: Differences | None
) -> list[Section]:
    """
    Returns the sections of a report, those that have something to say.

    Args:
        report ([`~hf_finemix.results.PurificationReport`]): The record of the job.
        manifest ([`~hf_finemix.manifest.Manifest`]): What went in and what came out.
        name (`str`): Name of the model.
        differences ([`~hf_finemix.differences.Differences`], *optional*): Examples that changed.
    """
    sections = [
        _figures(report),
        _examples(report, differences),
        _choice(report),
        _drift(report),
        _tokens(report),
        _plan(report.mix),
        _untested(report),
        _recipe(report, name),
        _lineage(report, manifest),
    ]
    return [section for section in sections if section is not None]


def _figures(report: PurificationReport) -> Section:
    evaluations, text = report.evaluations, card_figures.figures(report)
    if evaluations:
        text += f"\n\n{card_figures.legend(report)}\n\n{card_figures.baseline_note(report)}"
    chart = charts.draw_rates(evaluations) if evaluations else None
    return Section("figures", "Before and after", to_html(text), _markup(chart))


def _examples(report: PurificationReport, differences: Differences | None) -> Section | None:
    if differences is None:
        return None
    text = "These texts are in this file alone: the page that is published with the model does not have them."
    tables = tuple(_changed(report, each) for each in differences.comparisons)
    return Section("examples", "Examples whose label changed", to_html(text), tables=tables)


def _changed(report: PurificationReport, found: Comparison) -> Table:
    where = "Without a trigger" if found.trigger is None else f"With the trigger “{printable(found.trigger)}”"
    caption = (
        f"{where}: {found.changed} of {found.examples} examples have another label than before. Only the suspect is "
        f"right on {found.only_before}, only the purified model on {found.only_after} (McNemar's test: p = "
        f"{found.p_value:.2g})."
    )
    label = partial(_label, report)
    rows = tuple(
        (
            printable(item.text if item.text_pair is None else f"{item.text} / {item.text_pair}"),
            label(item.label),
            label(item.before),
            label(item.after),
        )
        for item in found.differences
    )
    return Table(caption, ("text", "true label", "suspect", "purified"), rows, found.changed - len(rows))


def _choice(report: PurificationReport) -> Section | None:
    if report.search is None:
        return None
    text = card_sections.trials(report)
    if report.control is not None:
        text += f"\n\n{card_sections.control(report)}"
    return Section("choice", "Choice of the keep ratio", to_html(text), _markup(charts.draw_frontier(report.search)))


def _drift(report: PurificationReport) -> Section | None:
    if not report.drift:
        return None
    text = (
        "How far the suspect had moved from the pretrained weights, before anything was mixed: the norm of the "
        "difference over the norm of the pretrained weights. Fine-tuning moves weights, too; what stands out is worth "
        "a look, and is no proof."
    )
    rows = tuple((printable(item.group), 100 * item.relative_drift, item.scalars) for item in report.drift)
    table = limited("Drift of each group of parameters", ("group", "relative drift, %", "scalars"), rows)
    return Section(
        "drift", "Drift by layer and module", to_html(text), _markup(charts.draw_drift(report.drift)), (table,)
    )


def _tokens(report: PurificationReport) -> Section:
    text, tables, chart = card_sections.tokens(report), (), None
    found = {} if report.distilled is None else {item.id: item for item in report.distilled.triggers}
    if report.distilled is not None:
        text += f"\n\n{card_sections.distillation(report)}"
    if report.purify.tokens:
        chart = charts.draw_tokens(report.purify.tokens, frozenset(found))
        rows = tuple(
            (item.rank, charts.named(item), item.id, item.score, _flips(report, found.get(item.id)))
            for item in report.purify.tokens
        )
        header = ("rank", "token", "id", "E-PUR score", "flips the suspect's predictions")
        tables = (limited("Word embeddings that were reset", header, rows),)
    unlisted = [item for item in found.values() if item.id not in {token.id for token in report.purify.tokens}]
    if unlisted:
        rows = tuple((printable(item.token or f"id {item.id}"), item.id, _flips(report, item)) for item in unlisted)
        header = ("token", "id", "flips the suspect's predictions")
        tables += (limited("Found by the trigger search, and not reset", header, rows),)
    return Section("tokens", "Suspicious tokens and the trigger search", to_html(text), _markup(chart), tables)


def _flips(report: PurificationReport, found: Insertion | None) -> str:
    return "" if found is None else f"{_percent(found.flips)} to {_label(report, found.label)}"


def _plan(mix: MixReport) -> Section:
    kept = [record.kept_scalars for record in mix.mixed]
    if None in kept:
        parts = [("mixed", mix.mixed_scalars)]
    else:
        parts = [
            ("mixed: pretrained value", mix.mixed_scalars - sum(kept)),
            ("mixed: suspect's value", sum(kept)),
        ]
    for action in (KEPT, COPIED, REFUSED):
        count = sum(record.numel for record in mix.parameters if record.action == action)
        parts.append((f"{action} as it was", count))
    parts = [part for part in parts if part[1]]
    rows = tuple(
        (
            record.action,
            printable(record.name),
            "x".join(map(str, record.shape)) or "scalar",
            record.numel,
            "" if record.kept_scalars is None else 100 * record.kept_scalars / max(1, record.numel),
            printable(record.reason),
        )
        for record in mix.parameters
    )
    header = ("action", "parameter", "shape", "scalars", "suspect's value, %", "reason")
    settings = mix.config
    text = (
        f"Keep ratio {settings.keep_ratio:g}, selection `{settings.selection}`, seed {settings.seed}: before the "
        f"fine-tuning, {mix.mixed_scalars:,} scalars were mixed."
    )
    chart = charts.draw_shares(parts) if parts else None
    return Section(
        "plan", "Plan of the parameters", to_html(text), _markup(chart), (limited("Parameters", header, rows),)
    )


def _untested(report: PurificationReport) -> Section:
    lines = "\n".join(f"- {line}" for line in card_sections.not_tested(report))
    return Section("untested", "What was not tested", to_html(lines))


def _recipe(report: PurificationReport, name: str) -> Section:
    text = card_sections.steps(report) + "\n\n" + card_sections.mixing(report)
    blocks = (("recipe.yaml", recipe_yaml(report)), ("repeat the job", recipe_code(report, name)[1]))
    return Section("recipe", "Recipe", to_html(text), blocks=blocks)


def _lineage(report: PurificationReport, manifest: Manifest) -> Section:
    lines = [f"- suspect: {source(report.suspect)}", f"- pretrained: {source(report.pretrained)}"]
    data = {
        "clean data": report.clean_data,
        "unlabelled data": report.unlabeled_data,
        "evaluation data": report.evaluation_data,
    }
    lines += [f"- {name}: {card_sections.data(record)}" for name, record in data.items() if record is not None]
    versions = tuple((printable(name), printable(number)) for name, number in report.environment.items())
    header = ("part", "file", "bytes", "sha256")
    rows = [*_files("suspect", manifest.suspect), *_files("pretrained", manifest.pretrained)]
    # What can be rendered again, this page among it, is in the manifest alone.
    outputs = tuple(file for file in manifest.outputs if file.name not in (CARD_FILE, HTML_FILE))
    rows += _files("output", SourceRecord("output", files=outputs))
    tables = (
        limited("Files that went in, and that came out", header, tuple(rows)),
        limited("Versions", ("package", "version"), versions),
    )
    tensors = f"{len(manifest.mixed_tensors)} mixed tensors have a sha256 of their own in finemix_manifest.json."
    return Section("manifest", "Lineage and manifest", to_html("\n".join([*lines, "", tensors])), tables=tables)


def _files(part: str, origin: SourceRecord) -> list[tuple[str | int, ...]]:
    return [(part, printable(file.name), file.size, file.sha256 or "not computed") for file in origin.files]


def _label(report: PurificationReport, number: int) -> str:
    return printable(report.labels.get(number, f"label {number}"))


def _percent(rate: Rate) -> str:
    return "no examples" if rate.value is None else f"{100 * rate.value:.1f} %"


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)
