"""A piece of work: its steps, its end, its errors."""

import gc
import sys
import threading

import pytest

from hf_finemix import InputError
from hf_finemix.app.work import Cancelled, Work
from hf_finemix.progress import Bar


def test_steps_and_result():
    go, seen = threading.Event(), threading.Event()

    def task(begin):
        begin("preparing")
        with Bar(3, "reading", show=False) as bar:
            bar.update(2)
            seen.set()
            go.wait(30)
        return 7

    work = Work(task)
    seen.wait(30)
    steps = work.steps(0.01)
    assert [(step.name, step.done, step.total) for step in (next(steps), next(steps))] == [("reading", 2, 3)] * 2
    go.set()
    assert work.result() == 7 and not work.is_running


def test_the_end_comes_at_the_next_step():
    begun, done = threading.Event(), []

    def task(begin):
        with Bar(10**9, "endless", show=False) as bar:
            while True:
                bar.update()
                done.append(1)
                begun.set()

    work = Work(task)
    begun.wait(30)
    work.cancel()
    with pytest.raises(Cancelled):
        work.result()
    assert work.join(0) and not work.is_running


def test_no_handler_of_errors_takes_the_end_for_one():
    begun = threading.Event()

    def task(begin):
        while True:
            try:
                begun.set()
                begin("again")
            except Exception:
                return "went on"

    work = Work(task)
    begun.wait(30)
    work.cancel()
    with pytest.raises(Cancelled):
        work.result()


def test_who_stops_asking_ends_it():
    go, begun = threading.Event(), threading.Event()

    def task(begin):
        begun.set()
        go.wait(30)
        begin("never")

    work = Work(task)
    begun.wait(30)
    steps = work.steps(0.01)
    next(steps)
    steps.close()
    go.set()
    with pytest.raises(Cancelled):
        work.result()


def test_errors_come_out():
    def task(begin):
        raise InputError("`seed` is wrong.")

    work = Work(task)
    assert list(work.steps(0.01))
    with pytest.raises(InputError, match="seed"):
        work.result()


def test_time_is_bounded():
    def task(begin):
        while True:
            begin("again")

    with pytest.raises(InputError, match=r"longer than the 0 minutes"):
        Work(task, limit=0.01).result()


@pytest.mark.parametrize("error", [None, InputError, Cancelled])
def test_nothing_holds_a_secret_afterwards(error):
    secret = "".join(["hf_", "secret"])
    before = sys.getrefcount(secret)

    def start():
        own = secret

        def deeper(token):
            try:
                raise KeyError("first")
            except KeyError as first:
                raise error("`seed` is wrong.") from first

        def task(begin):
            return deeper(own) if error else 7

        return Work(task)

    work = start()
    work.join(30)
    gc.collect()
    assert not work.is_running and sys.getrefcount(secret) == before
    if error:
        with pytest.raises(error):
            work.result()
