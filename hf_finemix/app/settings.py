"""What an app is told when it is started, checked once."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ..config import check_integer
from ..errors import InputError


MB, GB = 10**6, 10**9
_LOCAL_NAMES = ("localhost", "")


@dataclass(frozen=True)
class AppSettings:
    """
    Settings of an app.

    Args:
        work_folder (`Path`): Where everything is written. Each visitor has a folder in it.
        hub_only (`bool`, *optional*, defaults to `False`):
            Whether strangers use it: models come from the Hub alone, no token of the machine is used, and their sizes
            are bounded.
        max_upload_mb (`int`, *optional*, defaults to 50): Largest uploaded file.
        max_model_gb (`int`, *optional*, defaults to 3): Largest model of a hub-only app, each of suspect and base.
        max_sessions (`int`, *optional*, defaults to 32): Visitors at a time.
        waiting (`int`, *optional*, defaults to 8): Pieces of work that may wait for their turn.
        suspect (`str`, *optional*): What stands in the field of the suspect at first.
        pretrained (`str`, *optional*): The same for the base.

    Raises:
        InputError: If a bound is no positive integer.
    """

    work_folder: Path
    hub_only: bool = False
    max_upload_mb: int = 50
    max_model_gb: int = 3
    max_sessions: int = 32
    waiting: int = 8
    suspect: str = ""
    pretrained: str = ""

    def __post_init__(self):
        check_integer("--max-upload-mb", self.max_upload_mb, 1, 10_000)
        check_integer("--max-model-gb", self.max_model_gb, 1, 1_000)
        # A hub-only app works in another folder than that it was started in.
        object.__setattr__(self, "work_folder", self.work_folder.absolute())

    @property
    def sessions(self) -> Path:
        """Where the folders of the visitors are."""
        return self.work_folder / "sessions"

    @property
    def uploads(self) -> Path:
        """Where Gradio puts what is uploaded, and finds what is to be downloaded."""
        return self.work_folder / "uploads"

    @property
    def archives(self) -> Path:
        """Where in it the app puts what it offers."""
        return self.uploads / "archives"

    @property
    def hub_cache(self) -> Path:
        """Where a hub-only app puts what it fetches."""
        return self.work_folder / "hub"

    @property
    def scratch(self) -> Path:
        """Where temporary folders are made."""
        return self.work_folder / "tmp"

    @property
    def nowhere(self) -> Path:
        """An empty folder, in which a hub-only app works."""
        return self.work_folder / "nowhere"

    @property
    def most_uploaded(self) -> int:
        """Bytes that all files of all visitors may take."""
        return 20 * self.max_upload_mb * MB


def check_host(host: str, hub_only: bool) -> None:
    """
    Refuses an address that others can reach, where the app reads folders of this machine.

    Raises:
        InputError: If it is one.
    """
    try:
        is_local = host in _LOCAL_NAMES or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local and not hub_only:
        raise InputError(
            f"--host {host!r} lets others reach the app, which reads model folders of this machine; add --hub-only, "
            "or leave --host out."
        )
