"""Progress: what listeners hear, and what is drawn where."""

from contextlib import contextmanager

import pytest

from hf_finemix import progress
from hf_finemix.progress import Bar, Step, listening

from .terminals import on_terminal


# Listeners


@pytest.mark.parametrize("leave", [True, False])
def test_a_listener_hears_each_step_in_order(leave):
    heard = []
    with listening(heard.append), Bar(5, "reading", False, leave=leave) as bar:
        bar.update()
        bar.update(3)
        bar.update()
    assert heard == [Step("reading", done, 5) for done in (0, 1, 4, 5)]


def test_what_a_listener_raises_ends_the_work():
    def stop(step):
        if step.done == 2:
            raise KeyError("enough")

    done = []
    with pytest.raises(KeyError, match="enough"), listening(stop), Bar(9, "reading", False) as bar:
        for number in range(9):
            bar.update()
            done.append(number)
    assert done == [0]


def test_a_listener_that_ends_the_work_at_once_leaves_no_bar_open(monkeypatch):
    closed = []

    @contextmanager
    def drawn(*_):
        yield closed.append
        closed.append("closed")

    def refuse(step):
        raise KeyError("not at all")

    monkeypatch.setattr(progress, "_elsewhere", drawn)
    with pytest.raises(KeyError) as kept, listening(refuse), Bar(9, "reading", True):
        pass
    assert kept.value.args and closed == ["closed"]


def test_a_listener_hears_only_its_own_block():
    outer, inner = [], []
    with listening(outer.append):
        with listening(inner.append), Bar(1, "inner", False):
            pass
        with Bar(1, "outer", False):
            pass
    with Bar(1, "nobody", False) as bar:
        bar.update()
    assert (inner, outer) == ([Step("inner", 0, 1)], [Step("outer", 0, 1)])


# Without a terminal


def test_nothing_is_printed_unless_it_is_shown(capfd):
    with Bar(2, "reading", False) as bar:
        bar.update(2)
    assert capfd.readouterr() == ("", "")


def test_a_bar_without_a_terminal_is_that_of_tqdm(capsys):
    heard = []
    with listening(heard.append), Bar(4, "reading", True) as bar:
        bar.update(4)
    out, err = capsys.readouterr()
    assert out == "" and "reading: 100%" in err and "4/4" in err
    assert "\x1b[?25l" not in err
    assert [step.done for step in heard] == [0, 4]


# On a terminal

PROGRAM = """
import sys, time
from hf_finemix.progress import Bar
"""


def drawn(code, **options):
    return on_terminal(["-c", PROGRAM + code], **options)


def test_a_bar_is_drawn_on_a_terminal():
    shown = drawn("with Bar(12, '[red]read:smile:', True) as bar:\n    bar.update(12)")
    assert shown.status == 0 and shown.has_cursor
    # As it is: no markup, no emoji code.
    assert "[red]read:smile:" in shown.text and "━" in shown.text and "12/12" in shown.text


def test_bytes_have_units():
    assert "5.0/5.0 MB" in drawn("with Bar(5_000_000, 'm', True, is_bytes=True) as bar: bar.update(5_000_000)").text


def test_a_bar_that_does_not_stay_is_wiped_out():
    shown = drawn("with Bar(3, 'gone', True, leave=False) as bar: bar.update(3)\nprint('after')")
    assert shown.raw.rindex("\x1b[2K") > shown.raw.rindex("gone") and shown.text.endswith("after\n")


def test_a_bar_inside_another():
    code = """
with Bar(2, "outer", True) as outer:
    for _ in range(2):
        with Bar(3, "inner", True, leave=False) as inner:
            inner.update(3)
        outer.update()
print("done")
"""
    shown = drawn(code)
    assert shown.status == 0 and shown.has_cursor and "Traceback" not in shown.text
    assert "2/2" in shown.text and shown.text.endswith("done\n")


@pytest.mark.parametrize("leave", [True, False])
def test_ctrl_c_gives_the_cursor_back(leave):
    code = f"""
try:
    with Bar(2, "outer", True), Bar(9, "waiting", True, leave={leave}) as bar:
        bar.update()
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""
    shown = drawn(code, interrupt_at="1/9")
    assert shown.status == 130 and shown.has_cursor and "\x1b[?25l" in shown.raw


def test_what_is_printed_meanwhile_goes_where_it_belongs():
    code = "with Bar(2, 'working', True) as bar:\n    print('a line')\n    bar.update(2)"
    shown = drawn(code, piped=True)
    assert shown.out == "a line\n" and "a line" not in shown.text
    assert "a line" in drawn(code).text
