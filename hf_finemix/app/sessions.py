"""The visitors of an app: each has a folder, at most one piece of work, and what came of it."""

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..loading import Checkpoint
from .settings import AppSettings
from .work import Work


# Seconds after which the folder of somebody who does nothing goes, and in which an ended piece of work has to stop.
_IDLE = 2 * 60 * 60
_PATIENCE = 60.0


@dataclass(frozen=True)
class Purified:
    """
    A purified model of a visitor.

    Args:
        folder (`Path`): The output folder.
        suspect ([`~hf_finemix.loading.Checkpoint`]): The files that it was made from.
        max_length (`int`): Longest input in tokens.
    """

    folder: Path
    suspect: Checkpoint
    max_length: int


@dataclass
class Session:
    """
    One visitor.

    Args:
        folder (`Path`): Where all files of the visit are.
        turn (`threading.Lock`): Held by whose turn it is among all visitors.
        work ([`~hf_finemix.app.work.Work`], *optional*): What is being done.
        purified ([`Purified`], *optional*): The last model that was purified.
        download (`Path`, *optional*): The archive of it.
        uploads (`dict[Path, tuple[int, int]]`):
            Where Gradio put the visitor's files, and which ones they were: the same content of two visitors has the
            same place.
    """

    folder: Path
    turn: threading.Lock
    work: Work[Any] | None = None
    purified: Purified | None = None
    download: Path | None = None
    uploads: dict[Path, tuple[int, int]] = field(default_factory=dict)
    used: float = field(default_factory=time.monotonic)
    closed: bool = False

    @property
    def is_working(self) -> bool:
        """Whether something is being done."""
        return self.work is not None and self.work.is_running

    def hold(self, upload: Path) -> None:
        """Remembers an upload, so that it goes when its last owner leaves."""
        self.uploads[upload] = _identity(upload)

    def forget_result(self) -> None:
        """Removes the purified model."""
        if self.purified is not None:
            shutil.rmtree(self.purified.folder, ignore_errors=True)
        if self.download is not None:
            shutil.rmtree(self.download.parent, ignore_errors=True)
        self.purified = self.download = None

    def close(self) -> None:
        """Ends what is being done, and removes all files."""
        self.closed = True
        if self.work is not None:
            self.work.cancel()
            self.work.join(_PATIENCE)
        self.forget_result()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """
    All visitors, by the secret that each browser makes up.

    Args:
        settings ([`AppSettings`]): The app's.
    """

    def __init__(self, settings: AppSettings):
        self.settings = settings
        self._known: dict[str, Session] = {}
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, secret: str | None) -> Session:
        """
        Returns a visitor's session; a new one for somebody who was not here before.

        Raises:
            InputError: If there is no secret, or there are too many visitors.
        """
        if not secret:
            raise InputError("This call comes from no page of the app; open the app in a browser.")
        self.end_idle()
        with self._lock:
            session = self._known.get(secret)
            if session is None:
                if len(self._known) >= self.settings.max_sessions:
                    raise InputError("Too many people use this app at the moment; come back later.")
                self.settings.sessions.mkdir(parents=True, exist_ok=True)
                # The secret is the visitor's and no name for a folder.
                session = Session(Path(tempfile.mkdtemp(dir=self.settings.sessions)), self._turn)
                self._known[secret] = session
            session.used = time.monotonic()
            return session

    def end(self, secret: str | None) -> None:
        """Ends the work of a visitor who left, and removes the files."""
        with self._lock:
            session = self._known.pop(secret, None)
            if session is not None:
                self._let_go(session)
        if session is not None:
            session.close()

    def _let_go(self, session: Session) -> None:
        for upload, identity in session.uploads.items():
            owners = [other for other in self._known.values() if upload in other.uploads]
            for other in owners:
                other.uploads[upload] = max(other.uploads[upload], identity)
            if owners:
                continue
            try:
                # If not, somebody has uploaded it again, and is about to say so.
                if _identity(upload) == identity:
                    upload.unlink()
            except FileNotFoundError:
                continue

    def end_all(self) -> None:
        """Does that for all visitors."""
        for secret in list(self._known):
            self.end(secret)

    def end_idle(self) -> None:
        """Does that for visitors who have done nothing for long."""
        oldest = time.monotonic() - _IDLE
        for secret, session in list(self._known.items()):
            if session.used < oldest and not session.is_working:
                self.end(secret)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
