"""What the doctor finds out about the Hub, its client and the token, which no message holds."""

import json
import os
import socket
import subprocess
import sys

import pytest

from hf_finemix.doctor import of_hub
from hf_finemix.doctor_hub import NOT_ASKED, REACHABLE, UNREACHABLE, Hub, ask_hub, shown

from .hub import LoopbackHub, connect
from .purified import TOKEN


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        connect(monkeypatch, hub, tmp_path / "home", token=TOKEN)
        yield hub


def test_a_hub_that_knows_the_token(hub):
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", True, "me", True)
    # Whether it is there is asked without the token.
    assert [request.path for request in hub.requests] == ["/api/whoami-v2"] * 2
    assert [request.status for request in hub.requests] == [401, 200]


def test_a_hub_without_a_token(hub, monkeypatch, tmp_path):
    connect(monkeypatch, hub, tmp_path / "home")
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", False)


def test_a_token_that_is_not_to_be_sent_is_not(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", True) and len(hub.requests) == 1


def test_a_token_that_the_hub_does_not_take(hub, monkeypatch, tmp_path):
    connect(monkeypatch, hub, tmp_path / "home", token="hf_wrong")
    found = ask_hub()
    assert (found.state, found.has_token, found.user, found.accepted) == (REACHABLE, True, None, False)
    assert of_hub(found) == ["The Hub does not accept your token; run `hf auth login`, or set HF_TOKEN."]


def test_a_hub_that_sends_the_token_back_does_not_get_it_shown(hub):
    hub.fail("GET", "whoami", 401, body=b'{"error": "no"}')
    hub.fail("GET", "whoami", 200, body=json.dumps({"name": f"x{TOKEN}"}).encode())
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", True, None, True)


@pytest.mark.parametrize(
    ("status", "body", "note"),
    [
        (503, b"", "it answers with status 503"),
        (200, b"<p>", "it answers with status 200, but not as the Hub does"),
    ],
)
def test_something_else_that_answers(hub, status, body, note):
    hub.fail("GET", "whoami", status, body=body)
    found = ask_hub()
    assert (found.state, found.note, len(hub.requests)) == (UNREACHABLE, note, 1)


def test_a_cut_connection_after_the_first_answer(hub):
    hub.fail("GET", "whoami", 401, body=b"{}")
    hub.cut("GET", "whoami")
    found = ask_hub()
    assert found.state == REACHABLE and found.note.startswith("it was not told whose the token is: ")


def test_nobody_listens(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connect(monkeypatch, f"http://127.0.0.1:{port}", tmp_path / "home", token=TOKEN)
    found = ask_hub()
    assert (found.state, found.user, found.has_token) == (UNREACHABLE, None, True)
    assert found.note.startswith("ConnectError: ")
    (warning,) = of_hub(found)
    assert f"http://127.0.0.1:{port}" in warning and "local folders and the cache still work" in warning


def test_somebody_listens_and_says_nothing(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path / "home")
        found = ask_hub(patience=0.2)
    assert (found.state, found.note.split(":")[0]) == (UNREACHABLE, "ReadTimeout")


def test_names_that_are_looked_up_forever(monkeypatch, hub):
    import threading

    forever = threading.Event()
    monkeypatch.setattr("hf_finemix.doctor_hub._ask", lambda *arguments: forever.wait())
    monkeypatch.setattr("hf_finemix.doctor_hub._SLACK", 0.1)
    found = ask_hub(patience=0.1)
    forever.set()
    assert (found.state, found.note) == (UNREACHABLE, "TimeoutError: no answer in time")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline_nothing_is_asked(hub, monkeypatch, how):
    if how == "variable":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = ask_hub(offline=how == "option")
    assert found.state == NOT_ASKED and not hub.requests and of_hub(found) == []
    assert ("HF_HUB_OFFLINE" in found.note) == (how == "variable")


@pytest.mark.parametrize(
    ("endpoint", "seen"),
    [
        ("https://huggingface.co", "https://huggingface.co"),
        ("https://me:secret@hub.example:8080/x?key=secret", "https://hub.example:8080/x"),
        ("me:secret@hub.example", "hub.example"),
    ],
)
def test_an_address_is_shown_without_its_secrets(endpoint, seen):
    assert shown(endpoint) == seen


def test_an_address_with_a_secret_that_is_none(monkeypatch, tmp_path):
    connect(monkeypatch, "http://me:sec/ret@127.0.0.1:1", tmp_path / "home")
    found = ask_hub()
    assert found.state == UNREACHABLE and "sec" not in str(found) and "ret" not in str(found)


def test_a_proxy_with_a_secret_that_is_no_address(monkeypatch, tmp_path):
    connect(monkeypatch, "http://hub.example", tmp_path / "home")
    monkeypatch.setenv("http_proxy", "http://me:sec/ret@127.0.0.1:1")
    found = ask_hub()
    assert (found.state, found.note) == (UNREACHABLE, "InvalidURL")


# A token that cannot be read


@pytest.fixture(params=["folder", "bytes", "long", "below"])
def unreadable(request, hub, monkeypatch, tmp_path):
    """Gives a token file of that kind, and why it cannot be read."""
    connect(monkeypatch, hub, tmp_path / "home")
    path, why = {
        "folder": (tmp_path, "Is a directory"),
        "bytes": (tmp_path / "bytes", "it is not UTF-8"),
        "long": (tmp_path / ("a" * 300) / "token", "File name too long"),
        "below": (tmp_path / "bytes" / "token", "Not a directory"),
    }[request.param]
    (tmp_path / "bytes").write_bytes(TOKEN.encode() + b"\xff")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(path))
    return path, why


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_TOKEN_PATH"])
def test_a_token_that_cannot_be_read(unreadable, hub, monkeypatch, variable):
    path, why = unreadable
    if variable == "HF_HOME":
        monkeypatch.delenv("HF_TOKEN_PATH")
    problem = (
        f"The token in {path} cannot be read ({why}); move away what is there and run `hf auth login`, "
        f"set {variable} to another place, or set HF_TOKEN."
    )
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", False, problem=problem)
    assert ask_hub(offline=True).problem == problem and TOKEN not in problem
    hub.fail("GET", "whoami", 503)
    assert (ask_hub().state, ask_hub().problem) == (UNREACHABLE, problem)


def test_a_service_that_gives_no_token(hub, monkeypatch):
    # Nothing here is one of the services that could.
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("HF_OIDC_RESOURCE", "someone/model")
    said = "There is no token for HF_OIDC_RESOURCE (OIDCError); unset it, or set HF_OIDC_ID_TOKEN."
    assert ask_hub() == Hub(hub.endpoint, REACHABLE, "", False, problem=said)


# A client that cannot be imported


def client(variables, path=""):
    """Returns what is wrong with the client, in a process that has not imported it yet."""
    command = f"import sys; sys.path[:0] = [{str(path)!r}]\n"
    command += "from hf_finemix.doctor_hub import problem_of_client\nprint(problem_of_client())"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=os.environ | variables)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, ""),
        (
            {"HF_ENDPOINT": "http://me:secret@[bad"},
            "HF_ENDPOINT holds something that is no address; set it to that of your Hub, or unset it.",
        ),
        (
            {"HF_HUB_ETAG_TIMEOUT": "soon"},
            "HF_HUB_ETAG_TIMEOUT holds something that is no whole number; set it to one, or unset it.",
        ),
    ],
    ids=["none", "address", "number"],
)
def test_variables_that_the_client_cannot_read(variables, said):
    assert client(variables) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ImportError('no httpx')", "huggingface_hub cannot be imported (no httpx); install it anew."),
        ("OSError('torn')", "huggingface_hub cannot be imported (torn); install it anew."),
        (
            "ValueError('secret')",
            "huggingface_hub cannot read one of the variables whose names begin with HF_; unset them one by one.",
        ),
    ],
)
def test_a_client_that_cannot_be_imported(tmp_path, error, said):
    (tmp_path / "huggingface_hub.py").write_text(f"raise {error}")
    assert client({}, tmp_path) == said
