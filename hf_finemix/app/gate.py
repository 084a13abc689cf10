"""The gate before the app: it lets through what the page needs, from the page, and nothing else."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_API = "/gradio_api"
# What the page of Gradio asks for. Its other addresses (a proxy, downloads of addresses on the web, recordings, a
# history of runs, monitoring, a description of the interface for programs) are of no use here.
_PAGE = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon(/\d+)?|/(assets|static)/.*"
)
_CALLS = re.compile(
    rf"{_API}/(queue/(join|data)|upload|upload_progress|heartbeat/\w+|startup-events|reset/?|cancel|run/\w+|info/?"
    r"|theme\.css|login_check/?|app_id/?)"
)
_FILE = re.compile(rf"{_API}/file=(.+)", re.DOTALL)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Whatever got into the page, the browser asks nobody else for anything, and sends nothing anywhere else.
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"connect-src 'self'; worker-src 'self' blob:; "
        b"object-src 'none'; base-uri 'self'; form-action 'self'",
    ),
)


class Gate:
    """
    ASGI middleware.

    Args:
        app: The app behind it.
        uploads (`Path`): The one folder whose files are served.
        archives (`Path`): Where in it the app puts what it offers.
        most_uploaded (`int`): Bytes that all uploads together may take.
        hosts (`frozenset[str]`, *optional*):
            Names under which the app is reached, without ports; `None` for any, where a proxy stands before it.
    """

    def __init__(
        self, app: App, uploads: Path, archives: Path, most_uploaded: int, hosts: frozenset[str] | None = None
    ):
        self.app, self.uploads, self.archives = app, uploads.resolve(), archives.resolve()
        self.most_uploaded, self.hosts = most_uploaded, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            # Starting and stopping; Gradio uses no other protocol.
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        path, headers = scope["path"], {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if self.hosts is not None:
            # A page of somebody else must not speak to the app in the user's name, by whatever name it calls it.
            if urlsplit(f"//{host}").hostname not in self.hosts:
                return 403, "This app is not known by that name."
            if origin is not None and urlsplit(origin).netloc != host:
                return 403, "This app answers its own page alone."
        file = _FILE.fullmatch(path)
        if file is not None:
            found = Path(unquote(file[1]))
            is_ours = found.is_absolute() and found.resolve().is_relative_to(self.uploads)
            return None if is_ours else (403, "There is no such file.")
        if not _PAGE.fullmatch(path) and not _CALLS.fullmatch(path):
            return 404, "There is nothing here."
        if path == f"{_API}/upload" and _size(self.uploads, self.archives) > self.most_uploaded:
            return 507, "There is no room for more uploads at the moment; come back later."
        return None


def _size(folder: Path, archives: Path) -> int:
    # What the app itself puts there to be taken away does not count.
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(archives))
    return sum(path.stat().st_size for path in found)


async def _answer(send: Send, code: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
