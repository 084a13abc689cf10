"""From an event of the page to what it shows: progress while the work goes on, then a result or one line."""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from ..errors import InputError
from ..progress import Step
from . import actions
from .comparing import compare
from .form import Form
from .inputs import check_upload
from .markup import alert, progress, status
from .sessions import Session, Sessions
from .words import say
from .work import Cancelled, Work, forget_frames


_CANCELLED = "Cancelled. Nothing half-made was kept."


class Handlers:
    """
    The functions behind the buttons of one app.

    Args:
        sessions ([`~hf_finemix.app.sessions.Sessions`]): Its visitors.
    """

    def __init__(self, sessions: Sessions):
        self.sessions, self.settings = sessions, sessions.settings

    def scan(self, request: gr.Request, *values: Any) -> Iterator[str]:
        """Scans the suspect."""
        for shown, result in self._run(request, lambda own: actions.start_scan(own, Form(*values), self.settings)):
            yield result or shown

    def plan(self, request: gr.Request, *values: Any) -> Iterator[str]:
        """Shows what a purification would do."""
        for shown, result in self._run(request, lambda own: actions.start_plan(own, Form(*values), self.settings)):
            yield result or shown

    def purify(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Purifies the suspect; fills figures, report and download."""
        yield progress_of(None), "", gr.DownloadButton(value=None, interactive=False)
        visitor: list[Session] = []

        def start(session: Session) -> Work[tuple[str, str]]:
            visitor.append(session)
            return actions.start_purification(session, Form(*values), self.settings)

        for shown, result in self._run(request, start):
            # Whoever has left meanwhile has no archive any more.
            archive = visitor[0].download if result is not None else None
            if archive is None:
                yield shown, gr.skip(), gr.skip()
            else:
                yield *result, gr.DownloadButton(value=str(archive), interactive=True)

    def compare(self, request: gr.Request, text: Any, pair: Any, trigger: Any, place: Any) -> Iterator[str]:
        """Tries a sentence on both models."""

        def start(session: Session) -> Work[str]:
            purified = actions.find_purified(session)
            given = [value if isinstance(value, str) else "" for value in (text, pair, trigger, place)]
            return actions.start(session, lambda begin: compare(purified, *given), self.settings)

        for shown, result in self._run(request, start):
            yield result or shown

    def push(self, request: gr.Request, repo_id: Any, visibility: Any, token: Any) -> Iterator[tuple[str, str]]:
        """Publishes the purified model. The token is taken out of its field at once."""
        secret = token if isinstance(token, str) else ""

        def start(session: Session) -> Work[str]:
            name = repo_id if isinstance(repo_id, str) else ""
            return actions.start_push(session, name, visibility != "public", secret, self.settings)

        for shown, result in self._run(request, start, secret):
            yield result or shown, ""

    def note_upload(self, request: gr.Request, path: Any) -> None:
        """Remembers an uploaded file, so that it goes when its owner leaves."""
        for item in path if isinstance(path, list) else [path]:
            try:
                self.sessions.get(request.session_hash).hold(check_upload(item, "File", self.settings))
            except (InputError, FileNotFoundError):
                # It is said when the file is used.
                continue

    def cancel(self, request: gr.Request) -> str:
        """Ends what is being done."""
        try:
            session = self.sessions.get(request.session_hash)
        except Exception as error:
            return alert(say(error))
        if not session.is_working:
            return status("Nothing is being done.")
        session.work.cancel()
        return status("Ending at the next step.")

    def leave(self, request: gr.Request) -> None:
        """Ends the work of somebody who closed the page, and removes the files."""
        self.sessions.end(request.session_hash)

    def _run(
        self, request: gr.Request, start: Callable[[Session], Work], secret: str = ""
    ) -> Iterator[tuple[str, Any]]:
        # Yields what to show and, at the end, what came of it.
        try:
            work = start(self.sessions.get(request.session_hash))
            for _ in work.steps():
                yield progress_of(work), None
            result = work.result()
        except Cancelled:
            yield status(_CANCELLED), None
        except Exception as error:
            # Whatever went wrong with a stranger's model, the page gets one line and the log nothing.
            line = alert(say(error, str(self.settings.work_folder), (secret, secret.strip())))
            forget_frames(error)
            yield line, None
        else:
            yield "", result


def progress_of(work: Work | None) -> str:
    """Returns how far a piece of work is; of none yet, that it waits."""
    return progress(Step("waiting", 0, 0), 0) if work is None else progress(work.latest, work.seconds)
