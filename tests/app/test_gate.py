"""The gate: what is let through, and to whom."""

import asyncio

import pytest

from hf_finemix.app.gate import Gate


LOCAL = frozenset({"localhost", "127.0.0.1"})
HOST = {"host": "127.0.0.1:7860"}


@pytest.fixture
def ask(settings):
    """Asks a gate for a path; gives status and headers."""

    def ask(path, headers=HOST, hosts=LOCAL, kind="http", most=1000):
        answers = []

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]})

        async def send(message):
            answers.append(message)

        gate = Gate(app, settings.uploads, settings.archives, most, hosts)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        asyncio.run(gate({"type": kind, "path": path, "headers": pairs}, None, send))
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
    ):
        assert ask(f"/gradio_api/file={path}")[0] == 403, path


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "", "evil@127.0.0.1.evil"])
def test_other_names_are_refused(ask, host):
    # As when a stranger's name is made to point at this machine.
    assert ask("/", {"host": host})[0] == 403


def test_other_pages_are_refused(ask):
    assert ask("/gradio_api/queue/join", HOST | {"origin": "http://127.0.0.1:7860"})[0] == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert ask("/gradio_api/queue/join", HOST | {"origin": origin})[0] == 403


def test_behind_a_proxy_any_name_will_do(ask):
    assert ask("/", {"host": "me-app.hf.space", "origin": "https://huggingface.co"}, hosts=None)[0] == 200


def test_other_protocols_are_not_spoken(ask):
    assert ask("/", kind="websocket") == (None, {})


def test_uploads_are_bounded_together(ask, settings):
    (settings.uploads / "x.csv").write_bytes(b"0" * 1000)
    (settings.archives / "y.zip").write_bytes(b"0" * 1000)
    assert ask("/gradio_api/upload")[0] == 200
    (settings.uploads / "z.csv").write_bytes(b"0")
    assert ask("/gradio_api/upload")[0] == 507
    assert ask("/gradio_api/upload_progress")[0] == 200
