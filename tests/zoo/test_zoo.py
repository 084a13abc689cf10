"""Each hostile model is refused in one line or handled, runs no code, reaches no network, leaves nothing behind."""

import os
import socket
from pathlib import Path

import pytest

from ..files import run
from . import ANIMALS
from .animals import HANDLED, REFUSED
from .cages import make_cage


def tree(root):
    """Everything below a folder, with the bytes of small files."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            small = os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < 1 << 22
            found[path] = Path(path).read_bytes() if small else None
    return found


@pytest.fixture
def no_network(monkeypatch):
    """Fails whatever looks for a name or opens a connection."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was asked for: {args[:2]}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def cage(tiny_place, tmp_path, monkeypatch):
    """A place of its own for the animal, which is also the home and the folder for what is temporary."""
    found = make_cage(tiny_place, tmp_path / "cage")
    for variable in ("HOME", "TMPDIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.chdir(found.root)
    return found


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", sorted(ANIMALS))
def test_animal(name, cage, no_network, capsys, tmp_path):
    animal = ANIMALS[name]
    animal.spoil(cage)
    before = tree(tmp_path)
    for command in animal.commands:
        places = {"suspect": cage.suspect, "base": cage.base, "clean": cage.clean, "out": cage.root / "out"}
        status, out, err = run(capsys, [argument.format(**places) for argument in command])
        said = out + err
        assert not cage.marker.exists(), "code ran"
        # Whatever was said can be shown to a person: no character of it does anything to a terminal.
        assert all(character.isprintable() or character in "\n\t" for character in said), ascii(said)
        assert "Traceback" not in said
        if animal.fate == REFUSED:
            assert status == 2, said
            assert len(err.splitlines()) == 1 and err.startswith(f"hf-finemix {command[0]}: error: "), err
            assert animal.words in err, err
            assert tree(tmp_path) == before, "something was written"
        else:
            assert animal.fate == HANDLED and status == 0, said
            written = {path: text for path, text in tree(tmp_path).items() if path not in before}
            assert all(path.startswith(f"{cage.root / 'out'}{os.sep}") for path in written), written.keys()
            check_output(animal, written)


def check_output(animal, written):
    """Checks that nothing of the attack is in what was written."""
    for path, text in written.items():
        name = os.path.basename(path)
        assert not name.endswith((".py", ".bin", ".pt", ".pth", ".pkl", ".npy")), name
        if animal.words and name == "README.md":
            assert animal.words.encode() not in text, name
        if animal.words in ("auto_map", "custom_pipelines", "evil", "builtins.eval", "/home/evil", "hunter2"):
            assert animal.words.encode() not in (text or b""), name


def test_the_zoo_is_large_and_each_animal_has_a_kind():
    assert len(ANIMALS) >= 60
    assert {animal.fate for animal in ANIMALS.values()} == {REFUSED, HANDLED}
    # A refusal for another reason would hide that the attack was not looked at.
    assert [animal.name for animal in ANIMALS.values() if animal.fate == REFUSED and not animal.words] == []


def test_the_marker_can_be_made(cage):
    """Without this, a marker that never appears would prove nothing."""
    import pickle

    pickle.loads(cage.payload())
    assert cage.marker.is_dir()
    cage.marker.rmdir()
    cage.code()
    exec(compile((cage.suspect / "evil.py").read_text(), "evil", "exec"), {})
    assert cage.marker.is_dir()
