"""A loopback Hub that serves folders: real HTTP for the real client, read-only."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


COMMIT = "5" * 40

_INFO = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?(?:\?.*)?")
_TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/?]+)(?:\?.*)?")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)(?:\?.*)?")


@contextmanager
def serve(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serves repositories, each at one commit that `main` points to; gives the address and the list of requests."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._answer(body=True)

        def do_HEAD(self):
            self._answer(body=False)

        def log_message(self, *arguments):
            pass

        def _answer(self, body: bool) -> None:
            requests.append(f"{self.command} {self.path}")
            if match := _INFO.fullmatch(self.path):
                self._info(match[1], match[2] or "main", body)
            elif match := _TREE.fullmatch(self.path):
                self._tree(match[1], body)
            elif match := _FILE.fullmatch(self.path):
                self._file(match[1], match[2], match[3], body)
            else:
                self._send(404, b"", {}, body)

        def _info(self, repository: str, revision: str, body: bool) -> None:
            folder = repositories.get(repository)
            if folder is None:
                self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
            elif revision not in ("main", COMMIT):
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
            else:
                files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
                answer = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": files, "private": False}
                self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)

        def _tree(self, repository: str, body: bool) -> None:
            entries = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}
                for path in sorted(repositories[repository].iterdir())
            ]
            self._send(200, json.dumps(entries).encode(), {"Content-Type": "application/json"}, body)

        def _file(self, repository: str, revision: str, name: str, body: bool) -> None:
            path = repositories.get(repository, Path("/nowhere")) / name
            if revision != COMMIT or not path.is_file():
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
                return
            content = path.read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body)

        def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
