"""The gate before the app: it lets through what the page needs, from the page, and nothing else."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .calls import LARGEST, Fields, read_call


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
# What a button does: in the queue, or at once.
_BUTTONS = re.compile(rf"{_API}/(queue/join|run/\w+)")
_UPLOAD = f"{_API}/upload"
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
        fields (`dict[int, tuple[bool, ...]]`):
            For each call of the page, whether each of its fields is one of files.
        hosts (`frozenset[str]`, *optional*):
            Names under which the app is reached, without ports; `None` for any, where a proxy stands before it.
    """

    def __init__(
        self,
        app: App,
        uploads: Path,
        archives: Path,
        most_uploaded: int,
        fields: Fields,
        hosts: frozenset[str] | None = None,
    ):
        self.app, self.uploads, self.archives = app, uploads.resolve(), archives.resolve()
        self.most_uploaded, self.fields, self.hosts = most_uploaded, fields, hosts
        # What the uploads that are under way have announced.
        self._announced = 0

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

        if scope["path"] == _UPLOAD:
            await self._upload(scope, receive, send, send_with_headers)
        elif scope.get("method") == "POST":
            await self._call(scope, receive, send, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, forward: Send) -> None:
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if not announced.isdigit() or len(announced) > 18:
            await _answer(send, 411, "An upload has to say how long it is.")
            return
        length = int(announced)
        if _size(self.uploads, self.archives) + self._announced + length > self.most_uploaded:
            await _answer(send, 507, "There is no room for more uploads at the moment; come back later.")
            return
        left = length

        async def counted() -> MutableMapping[str, Any]:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            # Longer than it said: as if the sender had gone.
            return message if left >= 0 else {"type": "http.disconnect"}

        self._announced += length
        try:
            await self.app(scope, counted, forward)
        finally:
            self._announced -= length

    async def _call(self, scope: Scope, receive: Receive, send: Send, forward: Send) -> None:
        body = await _read(receive)
        if body is None:
            await _answer(send, 413, "This call is too long.")
            return
        if _BUTTONS.fullmatch(scope["path"]):
            body = read_call(body, self.fields, self.uploads)
            if body is None:
                await _answer(send, 400, "The page makes no such call; upload files with it, and reload it.")
                return
        others = [
            pair for pair in scope["headers"] if pair[0].lower() not in (b"content-length", b"transfer-encoding")
        ]
        headers = [*others, (b"content-length", str(len(body)).encode())]
        waiting: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> MutableMapping[str, Any]:
            return waiting.pop() if waiting else await receive()

        await self.app({**scope, "headers": headers}, replay, forward)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        path, headers = scope["path"], {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if self.hosts is not None:
            # A page of somebody else must not speak to the app in the user's name, by whatever name it calls it.
            if _hostname(host) not in self.hosts:
                return 403, "This app is not known by that name."
            if origin is not None and _netloc(origin) != host:
                return 403, "This app answers its own page alone."
        file = _FILE.fullmatch(path)
        if file is not None:
            return None if _is_below(unquote(file[1]), self.uploads) else (403, "There is no such file.")
        if not _PAGE.fullmatch(path) and not _CALLS.fullmatch(path):
            return 404, "There is nothing here."
        return None


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_below(path: str, folder: Path) -> bool:
    try:
        return Path(path).is_absolute() and Path(path).resolve().is_relative_to(folder)
    except (OSError, ValueError):
        # As of a name with a null character, or one that is too long.
        return False


def _size(folder: Path, archives: Path) -> int:
    # What the app itself puts there to be taken away does not count.
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(archives))
    return sum(path.stat().st_size for path in found)


async def _read(receive: Receive) -> bytes | None:
    # `None` if it is longer than any call of the page. Of a sender who has gone, what came.
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > LARGEST:
            return None
    return body


async def _answer(send: Send, code: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
