"""What is locked: all that is needed, at the tested versions, by hash, and from nowhere in particular."""

import functools
import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


ROOT = Path(__file__).parent.parent
EXTRAS = ("bench", "prescan", "sign", "ui", "wordfreq")
LOCKS = ["requirements.lock", "requirements-cpu.lock", "supply_chain/tools.lock"]
# Not in constraints.txt: what torch asks of pip's own environment, and what is for Windows or a later Python alone.
UNCONSTRAINED = {"audioop-lts", "colorama", "setuptools"}
CUDA = ("cuda-", "nvidia-", "triton")


@functools.cache
def read(name):
    """The entries of a lock: requirement and hashes by name."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split("--hash=")
        requirement = Requirement(requirement)
        name = canonicalize_name(requirement.name)
        assert name not in found
        found[name] = requirement, [value.strip() for value in hashes]
    return found


def version(requirement):
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): value for name, value in (line.split("==") for line in lines)}


def needed():
    """What the package and the locked extras ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [line for name in EXTRAS for line in project["optional-dependencies"][name]]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_is_exact_and_has_hashes(lock):
    found = read(lock)
    assert len(found) > 50
    for name, (requirement, hashes) in found.items():
        assert version(requirement), name
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), name


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_place(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"\w+://|file:|^\s*--(?!hash=)|(?:^|[\s=@])(?:[/~]|[A-Za-z]:\\)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS[:2])
def test_pins_are_those_of_the_tests(lock):
    tested = constraints()
    pins = {name: version(requirement) for name, (requirement, _) in read(lock).items()}
    pins = {name: value for name, value in pins.items() if not name.startswith(CUDA)}
    assert pins.keys() - tested.keys() <= UNCONSTRAINED
    assert {name: value.removesuffix("+cpu") for name, value in pins.items() if name in tested} == {
        name: value for name, value in tested.items() if name in pins
    }


@pytest.mark.parametrize("lock", LOCKS[:2])
def test_all_that_is_needed_at_run_time_is_locked(lock):
    found = read(lock)
    for requirement in needed():
        pin, _ = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version(pin)), requirement.name
        assert requirement.extras <= pin.extras


def test_what_those_need_is_locked_too():
    found, seen, waiting = read("requirements.lock"), set(), [(each.name, each.extras) for each in needed()]
    while waiting:
        name, extras = waiting.pop()
        if (canonicalize_name(name), *sorted(extras)) in seen:
            continue
        seen.add((canonicalize_name(name), *sorted(extras)))
        assert canonicalize_name(name) in found
        for requirement in map(Requirement, importlib.metadata.requires(name) or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras]):
                waiting.append((requirement.name, requirement.extras))
    assert len({name for name, *_ in seen}) > 90


def test_tools_are_those_that_were_asked_for():
    lines = (ROOT / "supply_chain" / "tools.in").read_text(encoding="utf-8").splitlines()
    found = read("supply_chain/tools.lock")
    for requirement in [Requirement(line) for line in lines if not line.startswith("#")]:
        assert version(found[canonicalize_name(requirement.name)][0]) == version(requirement)


def test_the_two_locks_differ_in_torch_alone():
    whole, cpu = read("requirements.lock"), read("requirements-cpu.lock")
    assert all(name.startswith(CUDA) for name in whole.keys() - cpu.keys())
    assert {name: whole.get(name) for name in cpu if whole.get(name) != cpu[name]} == {"torch": whole["torch"]}
    assert version(cpu["torch"][0]) == version(whole["torch"][0]) + "+cpu"
    assert not set(cpu["torch"][1]) & set(whole["torch"][1])


def test_licences_cover_exactly_what_is_locked():
    page = (ROOT / "docs" / "licenses.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (\S+) \| (.+) \|$", page, flags=re.MULTILINE)
    listed = [(name, value) for name, value, _ in rows if name != "package"]
    pins = [(name, version(requirement)) for name, (requirement, _) in read("requirements.lock").items()]
    assert sorted(listed) == sorted(pins)
    assert all(licence.strip() for _, _, licence in rows)


def test_actions_are_pinned_by_commit():
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        uses = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
        assert uses and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", use) for use in uses), path.name


@pytest.mark.slow
def test_two_builds_in_two_places_have_the_same_bytes():
    result = subprocess.run(["make", "wheel-check"], cwd=ROOT, capture_output=True, text=True)
    *_, first_wheel, first_sdist, wheel, sdist, verdict = result.stdout.splitlines()
    assert (result.returncode, verdict) == (0, "same"), result.stderr
    assert (first_wheel, first_sdist) == (wheel, sdist)
    assert wheel.endswith(".whl") and sdist.endswith(".tar.gz")
