"""What lies in the package's folder reaches whoever installs it, from the wheel and from the sdist."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = "import setuptools.build_meta as backend; backend.build_{}('made')"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is built, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "hf_finemix", folder / "hf_finemix", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def tree(source):
    """The files of the package, relative to the folder that it lies in."""
    found = {path.relative_to(source).as_posix() for path in (source / "hf_finemix").rglob("*") if path.is_file()}
    assert {"hf_finemix/__init__.py", "hf_finemix/py.typed", "hf_finemix/templates/defense_card.md"} <= found
    return found


def built(source, kind, suffix):
    """Builds a wheel or an sdist, in a process of its own because setuptools changes what it runs in."""
    subprocess.run([sys.executable, "-c", BUILD.format(kind)], cwd=source, check=True, capture_output=True)
    (path,) = (source / "made").glob(f"*{suffix}")
    return path


def test_wheel_has_the_files_of_the_package_and_no_others(source, tree):
    with zipfile.ZipFile(built(source, "wheel", ".whl")) as wheel:
        names = set(wheel.namelist())
    assert {name for name in names if ".dist-info/" not in name} == tree


def test_sdist_has_them_too(source, tree):
    with tarfile.open(built(source, "sdist", ".tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert tree <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names
