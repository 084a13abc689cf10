import os
import stat
from pathlib import Path

import pytest

from hf_finemix import InputError
from hf_finemix.output import check_output, staged_folder


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Whole ...


def test_a_finished_folder_is_there_with_all_its_files(tmp_path):
    target = tmp_path / "out"
    with staged_folder(target) as staging:
        assert not target.exists()
        (staging / "sub").mkdir()
        (staging / "sub" / "a.txt").write_text("a")
        (staging / "b.txt").write_text("b")
    assert everything_in(tmp_path) == ["out", "out/b.txt", "out/sub", "out/sub/a.txt"]
    assert (target / "sub" / "a.txt").read_text() == "a"


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    with staged_folder(check_output(tmp_path / "out")) as staging:
        (staging / "a").touch()
    assert everything_in(tmp_path) == ["out", "out/a"]


def test_missing_parents_are_made(tmp_path):
    with staged_folder(check_output(tmp_path / "x" / "y" / "out")) as staging:
        (staging / "a").touch()
    assert (tmp_path / "x" / "y" / "out" / "a").exists()


def test_the_folder_has_the_permissions_of_an_ordinary_one(tmp_path):
    old = os.umask(0o027)
    try:
        with staged_folder(tmp_path / "out"):
            pass
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)


# ... or not there at all.


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit, MemoryError])
def test_a_failure_leaves_nothing_behind_not_even_the_parents(error, tmp_path):
    with pytest.raises(error), staged_folder(tmp_path / "x" / "y" / "out") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "half-written").write_text("half")
        raise error
    assert everything_in(tmp_path) == []


def test_a_failure_leaves_what_was_there_before(tmp_path):
    (tmp_path / "x" / "out").mkdir(parents=True)
    (tmp_path / "x" / "other.txt").touch()
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "x" / "out") as staging:
        (staging / "a").touch()
        raise KeyboardInterrupt
    assert everything_in(tmp_path) == ["x", "x/other.txt", "x/out"]


def test_parents_that_somebody_else_uses_by_now_stay(tmp_path):
    with pytest.raises(ValueError), staged_folder(tmp_path / "x" / "y" / "out"):
        (tmp_path / "x" / "neighbour").touch()
        raise ValueError
    assert everything_in(tmp_path) == ["x", "x/neighbour"]


def test_a_folder_that_was_filled_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(OSError), staged_folder(tmp_path / "out") as staging:
        (staging / "a").write_text("mine")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "b").write_text("theirs")
    assert everything_in(tmp_path) == ["out", "out/b"]


def test_a_disk_that_fails_at_the_end_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"), staged_folder(tmp_path / "out") as staging:
        (staging / "a").touch()
    assert everything_in(tmp_path) == []


# What is refused before the work starts.


def refused(path, *words):
    with pytest.raises(InputError) as error:
        check_output(path)
    message = str(error.value)
    assert "\n" not in message
    for word in ("--output", *words):
        assert word in message, message


def test_checking_makes_nothing(tmp_path):
    assert check_output(tmp_path / "x" / "out") == tmp_path / "x" / "out"
    assert everything_in(tmp_path) == []


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".hidden").touch()
    refused(tmp_path / "out", str(tmp_path / "out"), "already holds something")


def test_a_file_is_refused_as_folder_and_as_parent(tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is a file")
    refused(tmp_path / "file" / "out", "cannot be made")


def test_a_parent_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    refused(tmp_path / "x" / "out", "cannot be made", str(tmp_path))


def test_a_mount_point_is_refused(tmp_path, monkeypatch):
    # A folder cannot be renamed into its place, which would only show after the work was done.
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "out")
    refused(tmp_path / "out", "mount point")


def test_relative_names_are_resolved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_output("out") == tmp_path / "out"
    assert check_output("x/../out/") == tmp_path / "out"
    refused("..", "already holds something")


def test_a_link_to_an_empty_folder_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "broken").symlink_to(tmp_path / "later")
    for link, real in (("link", "real"), ("broken", "later")):
        with staged_folder(check_output(tmp_path / link)) as staging:
            (staging / "a").touch()
        assert (tmp_path / real / "a").exists()
        assert (tmp_path / link / "a").exists()
        assert (tmp_path / link).is_symlink()
