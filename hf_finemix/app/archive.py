"""The archive that a visitor takes away: exactly the files that the manifest lists, and the manifest."""

import tempfile
import zipfile
from pathlib import Path

from ..manifest import MANIFEST_FILE, load_manifest


# What the folder in the archive is called, and the archive.
NAME = "purified"


def make_archive(folder: Path, place: Path) -> Path:
    """
    Makes an archive of an output folder.

    Args:
        folder (`Path`): The output folder.
        place (`Path`): Where the archive goes, in a folder of its own whose name nobody can guess.

    Returns:
        `Path`: The archive.
    """
    names = [*(file.name for file in load_manifest(folder).outputs), MANIFEST_FILE]
    place.mkdir(parents=True, exist_ok=True)
    target = Path(tempfile.mkdtemp(dir=place)) / f"{NAME}.zip"
    # Weights hardly shrink, and packing them would take longer than sending them.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            archive.write(folder / name, f"{NAME}/{name}")
    return target
