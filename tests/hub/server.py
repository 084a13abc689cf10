"""The HTTP side: reads requests, records them, lets faults happen and sends answers."""

import base64
import os
import re
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .api import Answer, Call, answer
from .faults import Fault, Faults
from .store import Store


_BASE64_FIELD = re.compile(rb'"(?:content|sample)": ?"((?:[a-z\d+/]{4})*(?:[a-z\d+/]{2}==|[a-z\d+/]{3}=)?)"', re.I)


@dataclass
class Request:
    """A request as it came, apart from its Authorization; no status yet or none at all if it was cut."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(default=b"", repr=False)
    status: int | None = None

    @property
    def content(self) -> bytes:
        """All its bytes, followed by what they hold in base64."""
        head = [f"{self.method} {self.path}", *(f"{name}: {value}" for name, value in self.headers.items())]
        encoded = (base64.b64decode(match) for match in _BASE64_FIELD.findall(self.body))
        return b"\r\n".join(["\r\n".join(head).encode(), b"", self.body, *encoded])


class Handler(BaseHTTPRequestHandler):
    """Serves the requests of one connection."""

    protocol_version = "HTTP/1.1"
    # Head and body are sent apart; the body must not wait for the acknowledgement of the head.
    disable_nagle_algorithm = True
    server: "Server"

    def _serve(self) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        request = Request(self.command, self.path, headers)
        self.server.requests.append(request)
        fault = self.server.faults.take(self.command, self.path)
        if fault and fault.status is None:
            self._cut(request, fault)
            return
        request.body = self._read()
        if fault is None:
            self._send(request, self._handle(request))
        else:
            if fault.after_handling:
                self._handle(request)
            self._send(request, Answer(fault.status, fault.body, fault.headers))

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 (the base class looks for these names)

    def log_message(self, *arguments: object) -> None:
        """Prints nothing."""

    def _read(self, limit: int | None = None) -> bytes:
        """Reads the body, or its first bytes."""
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length if limit is None else min(limit, length))
        if limit is None and len(body) < length:
            raise ConnectionError("the client left in the middle of a request")
        return body

    def _handle(self, request: Request) -> Answer:
        call = Call(
            store=self.server.store,
            endpoint=self.server.endpoint,
            method=request.method,
            target=request.path,
            authorization=self.headers.get("Authorization"),
            range=self.headers.get("Range"),
            body=request.body,
        )
        with self.server.store.lock:
            return answer(call)

    def _send(self, request: Request, made: Answer, limit: int | None = None) -> None:
        request.status = made.status
        self.send_response(made.status)
        for name, value in ({"Content-Length": str(len(made.body))} | made.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(made.body[:limit])

    def _cut(self, request: Request, fault: Fault) -> None:
        """Reads a part of the request and handles nothing, or handles it and sends a part of the answer."""
        if not fault.after_handling and (fault.after is None or "Content-Length" in self.headers):
            request.body = self._read(fault.after or 0)
        else:
            request.body = self._read()
            made = self._handle(request)
            if fault.after is not None:
                self._send(request, made, fault.after)
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # `close` of a socket waits for the files made of it, and `shutdown` cannot reset.
        os.close(self.connection.detach())
        self.close_connection = True


class Server(ThreadingHTTPServer):
    """
    Listens on a free port of 127.0.0.1.

    Attributes:
        crashes (`list[BaseException]`): Failures of the Hub itself, for which its user should not have to guess.
    """

    # So that all threads are gone when the Hub stops.
    daemon_threads = False
    # A client that downloads with many threads would wait a second for a place in a short queue.
    request_queue_size = 64

    def __init__(self, store: Store, faults: Faults, requests: list[Request]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store, self.faults, self.requests = store, faults, requests
        self.crashes: list[BaseException] = []
        self._connections: set[socket.socket] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Keeps what went wrong in the Hub; that a client went away is no failure."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.crashes.append(error)

    def stop(self) -> None:
        """Stops listening, hangs up on clients that keep their connection, and waits for the threads."""
        self.shutdown()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
