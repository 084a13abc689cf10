"""What the buttons of the page do, without the page."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..adapter_suspects import find_suspect, is_language_model
from ..adapters import Adapter
from ..errors import InputError
from ..html_report.page import HTML_FILE
from ..job import Job, prepare, rows_to_reset
from ..job_checks import check_distillation
from ..loading import CARD_FILE, Checkpoint, resolve_checkpoint
from ..pipeline import run
from ..publishing import publish
from ..scanning import scan
from ..trust import is_trusted
from .archive import make_archive
from .form import Form
from .inputs import check_size, empty_cache
from .markup import alert, escape, frame, paragraph, status
from .sessions import Purified, Session
from .settings import AppSettings
from .views import show_figures, show_plan, show_scan
from .work import Work


Begin = Callable[[str], None]
# Seconds that a hub-only app works for one visitor at a time.
_LIMIT = 60 * 60
_UNTRUSTED = (
    "Mind the base: its publisher is not among those that are trusted by default. A base that carries the backdoor "
    "itself gives it back."
)


def start_scan(session: Session, form: Form, settings: AppSettings) -> Work[str]:
    """
    Starts a scan, whose result is HTML.

    Raises:
        InputError: If something in the form cannot be used.
    """
    suspect, pretrained = form.models(settings)
    texts, names = form.files(session.folder, settings)["clean"], form.columns

    def task(begin: Begin) -> str:
        begin("fetching the models")
        # At the commits whose sizes were checked.
        checked = check_size(suspect, "Suspect", settings), check_size(pretrained, "Base", settings)
        found, base = resolve_checkpoint(checked[0], "SUSPECT"), resolve_checkpoint(checked[1], "--pretrained")
        begin("comparing them")
        columns = names["text_columns"] if texts is not None else None
        return _warn(base) + show_scan(scan(found, base, texts=texts, text_columns=columns))

    return start(session, task, settings)


def start_plan(session: Session, form: Form, settings: AppSettings) -> Work[str]:
    """
    Starts planning a purification: everything is checked, nothing changed. The result is HTML.

    Raises:
        InputError: If something in the form cannot be used.
    """
    load, (_, recipe, distillation) = _loader(session, form, settings), form.recipe()

    def task(begin: Begin) -> str:
        job = load(begin, None)
        begin("ranking the word embeddings")
        rows = rows_to_reset(job, recipe)
        return _warn(job.pretrained) + show_plan(job, rows, recipe, distillation, auto=bool(form.auto))

    return start(session, task, settings)


def start_purification(session: Session, form: Form, settings: AppSettings) -> Work[tuple[str, str]]:
    """
    Starts a purification. Its result is the HTML of the figures and of the report; the session knows the model.

    Raises:
        InputError: If something in the form cannot be used.
    """
    load, (_, recipe, distillation) = _loader(session, form, settings), form.recipe()
    session.forget_result()

    def task(begin: Begin) -> tuple[str, str]:
        output = Path(tempfile.mkdtemp(dir=session.folder)) / "purified"
        job = load(begin, output)
        config = job.model.config
        triggers = form.triggers(config.label2id, config.num_labels, measured=job.evaluation is not None)
        begin("purifying")
        options = {"distillation": distillation, "auto": bool(form.auto), "triggers": triggers}
        result = run(job, recipe, **options)
        begin("packing the model")
        archive = make_archive(output, settings.archives)
        session.purified = Purified(output, job.given, result.report.recipe.max_length)
        session.download = archive
        done = status("Purified. Below are the figures, the report, both models to try, and the model to take away.")
        return done + _warn(job.pretrained) + show_figures(result.report.evaluations), show_report(output)

    return start(session, task, settings)


def start_push(session: Session, repo_id: str, private: bool, token: str | None, settings: AppSettings) -> Work[str]:
    """
    Starts publishing the purified model; the result is HTML.

    Args:
        session ([`~hf_finemix.app.sessions.Session`]): The visitor's.
        repo_id (`str`): Repository on the Hub.
        private (`bool`): Whether a new one is private.
        token (`str`, *optional*): Token of the Hub, which is used here and kept nowhere.
        settings ([`AppSettings`]): The app's.

    Raises:
        InputError: If nothing was purified, or name or token are missing.
    """
    purified, repo_id = find_purified(session), (repo_id or "").strip()
    if not repo_id:
        raise InputError("Repository is empty; give the Hub id of a repository of yours.")
    token = (token or "").strip() or None
    if token is None and settings.hub_only:
        raise InputError("Token is empty; this app publishes with your token alone.")

    def task(begin: Begin) -> str:
        begin("publishing")
        made = publish(purified.folder, repo_id, private=private, token=token)
        done = status(f"Published {len(made.files)} files to {made.repo_id}.")
        return (
            done + paragraph(f"Commit: {made.commit_url}") + paragraph(f"To check: hf-finemix verify {made.repo_id}")
        )

    return start(session, task, settings)


def find_purified(session: Session) -> Purified:
    """
    Returns the visitor's purified model.

    Raises:
        InputError: If there is none.
    """
    if session.purified is None:
        raise InputError("There is no purified model yet; purify one first.")
    return session.purified


def show_report(folder: Path) -> str:
    """Returns the report of an output folder in a frame; its card where there is no report."""
    report = folder / HTML_FILE
    if report.is_file():
        return frame(report.read_text(encoding="utf-8"), "Report of the purification")
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    return f'<pre class="card" tabindex="0" role="region" aria-label="Defence card">{escape(card, 200_000)}</pre>'


def start(session: Session, task: Callable[[Begin], object], settings: AppSettings) -> Work:
    """
    Starts a piece of work for a visitor.

    Raises:
        InputError: If one goes on already.
    """
    if session.is_working:
        raise InputError("Something is being done for you already; wait for it, or cancel it.")
    session.work = Work(partial(_in_turn, session, task, settings), _LIMIT if settings.hub_only else None)
    return session.work


def _in_turn(session: Session, task: Callable[[Begin], object], settings: AppSettings, begin: Begin) -> object:
    # The queue of the page gives one turn at a time, but what somebody cancelled may still be at its last step.
    while not session.turn.acquire(timeout=0.2):
        begin("waiting for somebody else's work to end")
    try:
        empty_cache(settings)
        return task(begin)
    finally:
        session.turn.release()


def _loader(session: Session, form: Form, settings: AppSettings) -> Callable[[Begin, Path | None], Job]:
    suspect, pretrained = form.models(settings)
    if session.is_working:
        raise InputError("Something is being done for you already; wait for it, or cancel it.")
    files, names = form.files(session.folder, settings), form.columns
    config, _, distillation = form.recipe()
    if files["clean"] is None:
        raise InputError("Clean examples are missing; upload some dozens of labelled texts.")
    check_distillation(files["unlabeled"] is not None, distillation)

    def load(begin: Begin, output: Path | None) -> Job:
        begin("fetching the models")
        checked = check_size(suspect, "Suspect", settings), check_size(pretrained, "Base", settings)
        found = find_suspect(checked[0])
        if isinstance(found, Adapter) or is_language_model(found):
            kind = "an adapter" if isinstance(found, Adapter) else "a language model"
            raise InputError(f"Suspect is {kind}; this app is for whole classifiers. `hf-finemix purify` takes it.")
        begin("loading the models")
        data = {"evaluation_dataset": files["evaluation"], "unlabeled_dataset": files["unlabeled"]}
        return prepare(found, checked[1], files["clean"], output=output, config=config, **data, **names)

    return load


def _warn(base: Checkpoint) -> str:
    return alert(_UNTRUSTED) if is_trusted(base.repo_id) is False else ""
