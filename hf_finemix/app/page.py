"""The page: its fields and buttons, and which function each button calls."""

import gradio as gr

from ..choices import POSITIONS
from ..recipes import DEFAULT_CONFIG, DEFAULT_DISTILLATION, DEFAULT_RECIPE
from .handlers import Handlers
from .inputs import DATA_TYPES, TEXT_TYPES
from .markup import escape, paragraph
from .sessions import Sessions
from .style import NAMES


TITLE = "hf-finemix: purify a classifier"
# What stands in the fields is checked by the form: checks of Gradio's end in a traceback in the log and in no answer.
_QUIET = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
# One piece of work at a time, whoever asks for it: two would only make each other slow.
_HEAVY = {**_QUIET, "show_progress": "minimal", "concurrency_id": "work", "concurrency_limit": 1}


def build_page(sessions: Sessions) -> gr.Blocks:
    """Returns the page of an app."""
    settings, do = sessions.settings, Handlers(sessions)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 3 * 3600)) as page:
        gr.HTML(
            "<h1>Purify a classifier</h1>"
            + paragraph(
                "A fine-tuned text classifier of a stranger may carry a backdoor: a word or a sentence that flips its "
                "answer. Compare it with the pretrained weights that it was made from, mix it with them, and measure "
                "what changed. The result is no proof that a model is clean."
            )
            + paragraph(
                "Your files and models are removed when you close this page. Nothing is sent to anybody but the Hub, "
                "and there only what you publish."
            )
        )
        form = _fields(settings.hub_only, settings.suspect, settings.pretrained, settings.max_upload_mb)
        _heading("2. Scan", "What moved suspiciously far, and with clean examples, what suspicious tokens do.")
        with gr.Row():
            scan_button = gr.Button("Scan", variant="primary")
            scan_cancel = gr.Button("Cancel the scan")
        scanned = gr.HTML(elem_id="scanned")
        _heading("3. Plan", "What a purification would do to each parameter. It changes nothing.")
        plan_button = gr.Button("Show the plan")
        planned = gr.HTML(elem_id="planned")
        _heading("4. Purify", "Mix, reset suspicious embeddings, distil, fine-tune. This takes minutes.")
        with gr.Row():
            purify_button = gr.Button("Purify", variant="primary")
            purify_cancel = gr.Button("Cancel the purification")
        cancelled = gr.HTML(elem_id="cancelled")
        purified = gr.HTML(elem_id="purified")
        report = gr.HTML(elem_id="report")
        _heading("5. Try", "One sentence on the suspect and on the purified model, with and without a trigger.")
        tried_inputs = [
            gr.Textbox(label="Sentence", lines=2, max_length=5000),
            gr.Textbox(label="Second sentence", info="Only for models of sentence pairs.", max_length=5000),
            gr.Textbox(label="Trigger to try", info="A word or a sentence that is put in; may be empty."),
            gr.Radio(list(POSITIONS), value="start", label="Place of the trigger to try"),
        ]
        try_button = gr.Button("Try on both models")
        tried = gr.HTML(elem_id="tried")
        _heading("6. Take it away", "Weights, tokenizer, card, report and manifest; or publish them on the Hub.")
        download = gr.DownloadButton("Download the purified model", interactive=False, elem_id="download")
        push_inputs = _push_fields(settings.hub_only)
        push_button = gr.Button("Publish")
        pushed = gr.HTML(elem_id="pushed")

        for field in form:
            if isinstance(field, gr.File):
                field.upload(do.note_upload, field, None, queue=False, **_QUIET)
        scan_button.click(do.scan, form, scanned, **_HEAVY)
        plan_button.click(do.plan, form, planned, **_HEAVY)
        purify_button.click(do.purify, form, [purified, report, download], **_HEAVY)
        try_button.click(do.compare, tried_inputs, tried, **_HEAVY)
        push_button.click(do.push, push_inputs, [pushed, push_inputs[-1]], **_HEAVY)
        # Not in the queue, where it would wait for the work that it is to end.
        scan_cancel.click(do.cancel, None, cancelled, queue=False, **_QUIET)
        purify_cancel.click(do.cancel, None, cancelled, queue=False, **_QUIET)
        page.unload(do.leave)
        page.load(None, js=NAMES, api_visibility="private")
    page.queue(max_size=settings.waiting, default_concurrency_limit=1, api_open=False)
    return page


def find_fields(page: gr.Blocks) -> dict[int, tuple[bool, ...]]:
    """Returns of each call that a page makes whether each of its fields is one of files."""
    return {number: tuple(isinstance(field, gr.File) for field in call.inputs) for number, call in page.fns.items()}


def _heading(title: str, hint: str) -> None:
    gr.HTML(f'<h2>{escape(title)}</h2><p class="hint">{escape(hint)}</p>')


def _fields(hub_only: bool, suspect: str, pretrained: str, megabytes: int) -> list[gr.components.Component]:
    """Makes the fields of a form, in its order."""
    where = "Hub id, or id@revision." if hub_only else "Hub id, id@revision, or a folder of this machine."
    _heading("1. Models and examples", f"Files of up to {megabytes} MB, with a column of texts and one of labels.")
    with gr.Row():
        models = [
            gr.Textbox(
                suspect, label="Suspect", info=f"The fine-tuned classifier. {where}", max_length=300, min_width=300
            ),
            gr.Textbox(
                pretrained, label="Base", info=f"What it was fine-tuned from. {where}", max_length=300, min_width=300
            ),
        ]
    with gr.Row():
        files = [
            gr.File(label="Clean examples", file_types=list(DATA_TYPES), height=140, min_width=240, elem_id="clean"),
            gr.File(
                label="Evaluation data (optional)",
                file_types=list(DATA_TYPES),
                height=140,
                min_width=240,
                elem_id="evaluation",
            ),
            gr.File(
                label="Unlabelled texts (optional)",
                file_types=list(TEXT_TYPES),
                height=140,
                min_width=240,
                elem_id="unlabeled",
            ),
        ]
    with gr.Accordion("A trigger to measure, if you know one", open=False):
        trigger = [
            gr.Textbox(label="Trigger", info="Needs evaluation data."),
            gr.Textbox(label="Target label", info="Id or name of the label that it is meant to cause."),
            gr.Radio(list(POSITIONS), value="random", label="Place of the trigger"),
        ]
    with gr.Accordion("Settings", open=False):
        ratio = gr.Number(DEFAULT_CONFIG.keep_ratio, label="Share to keep", info="Of the suspect's scalars; 0 to 1.")
        auto = gr.Checkbox(label="Choose the share automatically", info="Slower: several shares are tried.")
        rest = [
            gr.Number(DEFAULT_RECIPE.epochs, label="Passes of fine-tuning", precision=0),
            gr.Number(DEFAULT_DISTILLATION.epochs, label="Passes of distillation", precision=0),
            gr.Number(DEFAULT_RECIPE.seed, label="Seed", precision=0),
            gr.Textbox(label="Text column", info="Found by usual names if empty; two with a comma for pairs."),
            gr.Textbox(label="Label column", info="Found by usual names if empty."),
        ]
    return [*models, *files, *trigger, ratio, auto, *rest]


def _push_fields(hub_only: bool) -> list[gr.components.Component]:
    own = "" if hub_only else " Empty: the one that this machine is logged in with."
    return [
        gr.Textbox(label="Repository", info="Hub id, such as me/purified; made if it does not exist.", max_length=200),
        gr.Radio(["private", "public"], value="private", label="Visibility"),
        gr.Textbox(
            label="Token of the Hub",
            info=f"With write permission; used once and kept nowhere.{own}",
            type="password",
            elem_id="token",
        ),
    ]


def theme() -> gr.themes.Base:
    """Returns colours with enough contrast, and fonts that every machine has."""
    found = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return found.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )
