"""The gate: what is let through, and to whom."""

import asyncio
import json

import pytest

from hf_finemix.app.calls import LARGEST
from hf_finemix.app.gate import Gate


LOCAL = frozenset({"localhost", "127.0.0.1"})
HOST = {"host": "127.0.0.1:7860"}
# A call with a text and a file, and one without fields.
FIELDS = {3: (False, True), 4: ()}


@pytest.fixture
def ask(settings):
    """Asks a gate for a path; gives status and headers, and what came through."""

    def ask(path, headers=HOST, hosts=LOCAL, kind="http", most=1000, body=None):
        answers, parts = [], [body or b""]

        async def app(scope, receive, send):
            if body is not None:
                message = await receive()
                ask.passed = dict(scope["headers"]), message
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]})

        async def send(message):
            answers.append(message)

        async def receive():
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        gate = Gate(app, settings.uploads, settings.archives, most, FIELDS, hosts)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": kind, "path": path, "headers": pairs, "method": "GET" if body is None else "POST"}
        ask.passed = None
        asyncio.run(gate(scope, receive, send))
        return (answers[0]["status"], dict(answers[0]["headers"])) if answers else (None, {})

    return ask


@pytest.mark.parametrize(
    "path", ["/", "/config", "/theme.css", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/heartbeat/a1b2"]
)
def test_the_page_is_let_through(ask, path):
    status, headers = ask(path)
    assert status == 200 and headers[b"x-app"] == b"yes"
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/docs",
        "/openapi.json",
        "/gradio_api/openapi.json",
        "/gradio_api/runs",
        "/gradio_api/proxy=https://example.org/x",
        "/gradio_api/call/scan",
        "/gradio_api/api/scan",
        "/gradio_api/process_recording",
        "/gradio_api/deep_link",
        "/gradio_api/vibe-code",
        "/monitoring/summary",
        "/gradio_api/stream/abc",
        "/login",
        "//config/x",
    ],
)
def test_the_rest_of_gradio_is_not(ask, path):
    assert ask(path)[0] == 404


def test_files_of_the_app_alone_are_served(ask, settings, tmp_path):
    (settings.uploads / "x.csv").write_text("x")
    (settings.uploads / "link").symlink_to("/etc")
    (settings.sessions / "secret").write_text("x")
    assert ask(f"/gradio_api/file={settings.uploads}/x.csv")[0] == 200
    for path in (
        "/etc/passwd",
        f"{settings.sessions}/secret",
        f"{settings.uploads}/../sessions/secret",
        f"{settings.uploads}/%2e%2e/sessions/secret",
        f"{settings.uploads}/link/passwd",
        "x.csv",
        "https://example.org/x",
        "file:///etc/passwd",
        f"{settings.uploads}/%00",
    ):
        assert ask(f"/gradio_api/file={path}")[0] == 403, path


@pytest.mark.parametrize(
    "host", ["evil.example:7860", "127.0.0.1.evil.example", "", "evil@127.0.0.1.evil", "[", "x:y:z"]
)
def test_other_names_are_refused(ask, host):
    # As when a stranger's name is made to point at this machine.
    assert ask("/", {"host": host})[0] == 403


def test_other_pages_are_refused(ask):
    assert ask("/gradio_api/queue/join", HOST | {"origin": "http://127.0.0.1:7860"})[0] == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "http://["):
        assert ask("/gradio_api/queue/join", HOST | {"origin": origin})[0] == 403


def test_behind_a_proxy_any_name_will_do(ask):
    assert ask("/", {"host": "me-app.hf.space", "origin": "https://huggingface.co"}, hosts=None)[0] == 200


def test_other_protocols_are_not_spoken(ask):
    assert ask("/", kind="websocket") == (None, {})


def test_uploads_are_bounded_together(ask, settings):
    (settings.uploads / "x.csv").write_bytes(b"0" * 900)
    (settings.archives / "y.zip").write_bytes(b"0" * 1000)

    def upload(length, **options):
        return ask("/gradio_api/upload", HOST | {"content-length": str(length)}, body=b"", **options)[0]

    assert (upload(100), upload(101), upload(10**30)) == (200, 507, 411)
    assert ask("/gradio_api/upload_progress")[0] == 200
    for headers in ({}, {"content-length": "-1"}, {"transfer-encoding": "chunked"}):
        assert ask("/gradio_api/upload", HOST | headers, body=b"")[0] == 411


def test_what_other_uploads_have_announced_counts(settings):
    async def upload(gate, length, app):
        answers = []

        async def send(message):
            answers.append(message["status"] if "status" in message else message["body"])

        headers = [(b"host", b"localhost"), (b"content-length", str(length).encode())]
        gate.app = app
        await gate({"type": "http", "path": "/gradio_api/upload", "headers": headers, "method": "POST"}, None, send)
        return answers

    async def both():
        gate = Gate(None, settings.uploads, settings.archives, 1000, FIELDS, LOCAL)
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow(scope, receive, send):
            begun.set()
            await go.wait()

        async def quick(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})

        first = asyncio.create_task(upload(gate, 600, slow))
        await begun.wait()
        during = await upload(gate, 401, quick)
        go.set()
        await first
        return during[0], (await upload(gate, 401, quick))[0]

    assert asyncio.run(both()) == (507, 200)


def test_more_than_was_announced_does_not_come_through(ask):
    headers = HOST | {"content-length": "3"}
    assert ask("/gradio_api/upload", headers, body=b"abc")[0] == 200 and ask.passed[1]["body"] == b"abc"
    ask("/gradio_api/upload", headers, body=b"abcd")
    assert ask.passed[1] == {"type": "http.disconnect"}


class TestCalls:
    def call(self, ask, data, path="/gradio_api/queue/join", **others):
        return ask(path, body=json.dumps({"data": data, "fn_index": 3, "session_hash": "a"} | others).encode())[0]

    def test_an_upload_comes_through_without_its_address(self, ask, settings):
        (settings.uploads / "x.csv").write_text("x")
        path = str(settings.uploads / "x.csv")
        file = {"path": path, "url": "http://evil.example/x", "meta": {"_type": "gradio.FileData"}, "is_stream": True}
        assert self.call(ask, ["a", file], event_data={"path": "http://evil.example"}, batched=True) == 200
        headers, message = ask.passed
        kept = {"path": path, "orig_name": "x.csv", "meta": {"_type": "gradio.FileData"}}
        assert json.loads(message["body"]) == {
            "data": ["a", kept],
            "fn_index": 3,
            "session_hash": "a",
            "trigger_id": None,
        }
        assert int(headers[b"content-length"]) == len(message["body"]) and not message["more_body"]

    @pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict"])
    @pytest.mark.parametrize(
        "file",
        [
            {"path": "http://evil.example/x.csv", "meta": {"_type": "gradio.FileData"}},
            {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
            {"url": "http://evil.example/x.csv", "meta": {"_type": "gradio.FileData"}},
            [{"path": "http://evil.example/x.csv", "meta": {"_type": "gradio.FileData"}}],
            "http://evil.example/x.csv",
            "/etc/passwd",
            {"path": "\0"},
            {"path": "x" * 5000},
            {"path": 3},
            3,
        ],
    )
    def test_other_files_do_not(self, ask, path, file):
        assert self.call(ask, ["a", file], path) == 400 and ask.passed is None

    def test_nor_files_in_fields_of_text(self, ask):
        assert self.call(ask, [{"path": "http://evil.example/x.csv"}, None]) == 400
        assert self.call(ask, [["http://evil.example/x.csv"], None]) == 400
        assert self.call(ask, ["http://evil.example/x.csv", None]) == 200

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"{",
            b"[" * 100_000,
            b"\xff",
            b'{"fn_index": 9, "data": []}',
            b'{"fn_index": [], "data": []}',
            b'{"fn_index": 3, "data": ["a"]}',
            b'{"fn_index": 4}',
        ],
    )
    def test_nor_calls_that_the_page_does_not_make(self, ask, body):
        assert ask("/gradio_api/queue/join", body=body)[0] == 400 and ask.passed is None

    @pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"])
    def test_long_ones_are_not_read_to_the_end(self, ask, path):
        assert ask(path, body=b" " * (LARGEST + 1))[0] == 413 and ask.passed is None
