"""Visitors: apart from each other, bounded, and gone with all their files."""

import threading
from dataclasses import replace

import pytest

from hf_finemix import InputError
from hf_finemix.app import sessions as module
from hf_finemix.app.sessions import Sessions
from hf_finemix.app.work import Work


def endless(begun):
    def task(begin):
        while True:
            begin("going on")
            begun.set()

    return task


def test_two_visitors_are_apart(sessions):
    first, second = sessions.get("a"), sessions.get("b")
    assert first is sessions.get("a") and first.folder != second.folder
    assert first.folder.is_dir() and not first.folder.is_relative_to(second.folder)
    assert {path.stat().st_mode & 0o077 for path in (first.folder, second.folder)} == {0}


def test_names_of_browsers_are_no_paths(sessions, settings):
    for secret in ("../../evil", "/etc", "a/b"):
        assert sessions.get(secret).folder.parent == settings.sessions


def test_calls_without_a_page_are_refused(sessions):
    with pytest.raises(InputError, match="open the app in a browser"):
        sessions.get(None)


def test_their_number_is_bounded(settings):
    few = Sessions(replace(settings, max_sessions=2))
    few.get("a"), few.get("b"), few.get("a")
    with pytest.raises(InputError, match="Too many people"):
        few.get("c")
    few.end("a")
    few.get("c")


def test_who_leaves_leaves_nothing(sessions, settings):
    session, begun = sessions.get("a"), threading.Event()
    (session.folder / "clean.csv").write_text("text")
    upload = settings.uploads / "x.csv"
    upload.write_text("text")
    session.hold(upload)
    session.work = Work(endless(begun))
    begun.wait(30)
    sessions.end("a")
    assert not session.is_working and not session.folder.exists() and not upload.exists() and not len(sessions)


class TestSharedUploads:
    # Gradio puts the same content of two visitors in the same place.
    @pytest.fixture
    def put(self, settings):
        def put():
            new = settings.scratch / "new"
            new.parent.mkdir(exist_ok=True)
            new.write_text("text")
            return new.replace(settings.uploads / "x.csv")

        return put

    @pytest.mark.parametrize("order", ["ab", "ba"])
    @pytest.mark.parametrize("again", [True, False])
    def test_it_goes_with_the_last_owner(self, sessions, put, order, again):
        upload = put()
        sessions.get("a").hold(upload)
        if again:
            put()
        sessions.get("b").hold(upload)
        sessions.end(order[0])
        assert upload.exists()
        sessions.end(order[1])
        assert not upload.exists()

    def test_one_that_came_a_moment_ago_stays(self, sessions, put):
        upload = put()
        sessions.get("a").hold(upload)
        put()
        sessions.end("a")
        # Whoever uploaded it again says so only now.
        assert upload.exists()
        sessions.get("b").hold(upload)
        sessions.end("b")
        assert not upload.exists()

    def test_one_that_is_gone_does_no_harm(self, sessions, put):
        upload = put()
        sessions.get("a").hold(upload)
        upload.unlink()
        sessions.end("a")
        assert not len(sessions)


def test_idle_ones_go(sessions, monkeypatch):
    idle, busy, begun = sessions.get("a"), sessions.get("b"), threading.Event()
    busy.work = Work(endless(begun))
    begun.wait(30)
    idle.used = busy.used = idle.used - module._IDLE - 1
    sessions.get("c")
    assert not idle.folder.exists() and busy.folder.exists()
