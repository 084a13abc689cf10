"""How much an uploaded table becomes when it is read, for strangers' files."""

from pathlib import Path

from ..errors import InputError
from ..parquet_size import check_parquet
from .settings import MB, AppSettings


MOST_ROWS = 100_000
# Values of a parquet file may take so many times what a file may have.
_TIMES = 20
_AT_ONCE = 2**20


def check_table(path: Path, field: str, settings: AppSettings) -> None:
    """
    Refuses a table that would keep a hub-only app busy for long, before it is read.

    Args:
        path (`Path`): The file, of a known type.
        field (`str`): Name of the field.
        settings ([`AppSettings`]): The app's.

    Raises:
        InputError: If it has too many rows, or becomes too large.
    """
    if not settings.hub_only:
        return
    if path.suffix.lower() == ".parquet":
        check_parquet(path, field, MOST_ROWS, _TIMES * settings.max_upload_mb * MB)
    elif path.suffix.lower() == ".json":
        if _count(path, b"{[") > 2 * MOST_ROWS:
            raise InputError(f"{field} has more than {2 * MOST_ROWS:,} objects and lists; give fewer rows.")
    elif _count(path, b"\n\r") > 2 * MOST_ROWS:
        # A line may end in two characters, and there is a header.
        raise InputError(f"{field} has more than {MOST_ROWS:,} lines; give fewer.")


def _count(path: Path, characters: bytes) -> int:
    found = 0
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            found += sum(part.count(character) for character in characters)
    return found
