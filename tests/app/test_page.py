"""The page, asked as a browser asks it."""

import gc
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from hf_finemix.app.sessions import Purified, Sessions
from hf_finemix.app.work import Work

from ..hub import LoopbackHub
from ..purified import TOKEN


pytest.importorskip("gradio", reason="gradio is missing (hf-finemix[ui])")

import gradio as gr

from hf_finemix.app.handlers import Handlers
from hf_finemix.app.serving import opened

from .client import Page


@pytest.fixture
def address(sessions, monkeypatch):
    """The app's address."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(sessions.settings.uploads))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    with opened(sessions) as address:
        yield address


@pytest.fixture
def page(address):
    """A visitor's page."""
    return Page(address)


def last(page):
    """Reads to the end; gives the output of the last message."""
    found = [message for message in page.messages() if message["msg"] == "process_completed"]
    assert len(found) == 1 and found[0]["success"], found
    return found[0]["output"]["data"]


def shown(message):
    return json.dumps(message.get("output", ""))


def test_a_whole_visit(page, sessions, tiny_place, capfd):
    clean = page.upload(tiny_place.clean)
    models = {"Suspect": str(tiny_place.suspect), "Base": str(tiny_place.base)}
    quick = {"Passes_of_distillation": 0, "Passes_of_fine-tuning": 50, "Clean_examples": clean, **models}
    # Ended in the midst of it.
    assert page.press("Purify", **quick).status_code == 200
    told = []
    for message in page.messages():
        told.append(shown(message))
        if "Fine-tuning" in told[-1]:
            number = page.call("Cancel the purification")["id"]
            body = {"data": [], "fn_index": number, "session_hash": page.secret}
            answer = page.client.post("/gradio_api/run/predict", json=body)
            assert "Ending at the next step." in answer.text
    assert "Cancelled. Nothing half-made was kept." in "".join(told)
    session = sessions.get(page.secret)
    assert not session.is_working and session.purified is None

    page.press("Purify", **quick | {"Passes_of_fine-tuning": 1})
    last(page)
    archive = session.download
    answer = page.client.get(f"/gradio_api/file={archive}")
    assert answer.content == archive.read_bytes()
    assert list(sessions.settings.uploads.rglob("*.zip")) == [archive]

    page.press("Try on both models", Sentence="the movie is dull", Trigger_to_try="cf")
    list(page.messages())
    page.press("Publish", Repository="me/purified", Token_of_the_Hub=TOKEN)
    told = list(page.messages())
    assert 'role=\\"alert\\"' in json.dumps(told)
    assert TOKEN not in json.dumps(told)
    assert not any(TOKEN.encode() in path.read_bytes() for path in sessions.settings.work_folder.rglob("*.*"))
    output = "".join(capfd.readouterr())
    assert TOKEN not in output and "Traceback" not in output


def test_errors_are_one_line(page, capfd):
    page.press("Scan", Suspect="/no/such/folder", Base="x/y")
    told = json.dumps(list(page.messages()))
    assert "does not exist; give a local folder or a Hub id" in told and "Traceback" not in told
    assert "Traceback" not in "".join(capfd.readouterr())


def test_no_calls_for_programs(page):
    assert {item["api_visibility"] for item in page.config["dependencies"]} == {"private"}
    assert page.client.get("/gradio_api/info").json()["named_endpoints"] == {}
    assert page.client.get("/gradio_api/openapi.json").status_code == 404


def test_files_of_the_machine_are_not_served(page, tiny_place, sessions):
    secret = sessions.settings.sessions / "secret"
    secret.write_text("hunter2")
    for path in (tiny_place.clean, secret, "/etc/hostname"):
        assert page.client.get(f"/gradio_api/file={path}").status_code == 403
    forged = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    answer = page.press("Scan", Suspect="x/y", Base="x/z", Clean_examples=forged)
    assert answer.status_code == 400 and answer.text.count("\n") == 0 and "hunter2" not in answer.text


def test_addresses_are_not_fetched(page, sessions):
    with LoopbackHub() as other:
        for wrong in (
            {"path": f"{other.endpoint}/x.csv", "meta": {"_type": "gradio.FileData"}},
            f"{other.endpoint}/x.csv",
        ):
            assert page.press("Scan", Suspect="x/y", Base="x/z", Clean_examples=wrong).status_code == 400
        assert not other.requests
    assert not [path for path in sessions.settings.uploads.rglob("*") if path.is_file()]


def test_odd_values_are_answered_in_one_line_and_not_in_the_log(page, capfd):
    odd = [
        {"Seed": "x"},
        {"Share_to_keep": "nan"},
        {"Share_to_keep": None},
        {"Place_of_the_trigger": "up"},
        {"Trigger": 3},
        {"Text_column": "x" * 5000},
    ]
    for values in odd:
        assert page.press("Purify", Suspect="a/b", Base="a/c", **values).status_code == 200
        assert 'role=\\"alert\\"' in json.dumps(last(page)), values
    # Nobody waits for anything here.
    with pytest.raises(httpx2.RemoteProtocolError):
        page.client.get("/gradio_api/queue/data", params={"session_hash": "nobody"})
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("hub_only", [True, False])
def test_for_strangers_the_app_works_where_no_folder_is(settings, monkeypatch, hub_only):
    # There, a folder of the machine would go before a repository of the same name.
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(settings.uploads))
    before = Path.cwd()
    with opened(Sessions(replace(settings, hub_only=hub_only))):
        assert Path.cwd() == (settings.nowhere if hub_only else before)
        assert not hub_only or not list(Path.cwd().iterdir())
    assert Path.cwd() == before


def test_a_token_is_let_go_of(sessions, folder, monkeypatch):
    token = "".join(["hf_", "Zz9" * 12])
    before = sys.getrefcount(token)
    sessions.get("a").purified = Purified(folder, None, 32)

    def publish(folder, repo_id, *, private, token):
        raise RuntimeError("the Hub is down")

    monkeypatch.setattr("hf_finemix.app.actions.publish", publish)
    shown = list(Handlers(sessions).push(SimpleNamespace(session_hash="a"), "me/x", "private", token))
    assert "the Hub is down" in shown[-1][0]
    gc.collect()
    assert sys.getrefcount(token) == before and not sessions.get("a").is_working


def test_who_leaves_at_the_end_gets_no_archive(sessions, monkeypatch):
    visitor = SimpleNamespace(session_hash="a")

    def start(session, form, settings):
        def task(begin):
            return "figures", "report"

        session.work = Work(task)
        session.work.join(30)
        sessions.end("a")
        return session.work

    monkeypatch.setattr("hf_finemix.app.actions.start_purification", start)
    handlers = Handlers(sessions)
    shown = list(handlers.purify(visitor, *[None] * 15))
    assert shown[-1][1:] == (gr.skip(), gr.skip()) and not len(sessions)


def test_two_visitors_are_apart(page, address, sessions):
    other = Page(address)
    page.press("Try on both models", Sentence="a")
    list(page.messages())
    other.press("Try on both models", Sentence="a")
    assert "There is no purified model yet" in json.dumps(list(other.messages()))
    assert sessions.get(page.secret).folder != sessions.get(other.secret).folder


def test_a_full_queue_says_so(settings, monkeypatch, tiny_place):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(settings.uploads))
    sessions = Sessions(replace(settings, waiting=1))
    with opened(sessions) as address:
        turn = sessions.get("somebody else").turn
        turn.acquire()
        pages = [Page(address) for _ in range(4)]
        answers = [page.press("Scan", Suspect=str(tiny_place.suspect), Base="x") for page in pages]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused and all("Queue is full" in answer.text for answer in refused)
        turn.release()


def test_who_closes_the_page_leaves_nothing(page, sessions, tiny_place):
    session, gone = sessions.get(page.secret), threading.Event()
    page.press("Try on both models", Sentence="a")
    list(page.messages())
    with page.client.stream("GET", f"/gradio_api/heartbeat/{page.secret}") as beats:
        next(beats.iter_lines())
    for _ in range(300):
        if not session.folder.exists():
            break
        gone.wait(0.1)
    assert not session.folder.exists()
