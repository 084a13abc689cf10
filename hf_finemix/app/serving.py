"""Starts an app, and takes it down with everything that it wrote."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..output import check_output
from .quiet import one_line_a_failure
from .settings import AppSettings, check_host


if TYPE_CHECKING:
    from gradio import Blocks
    from starlette.middleware import Middleware

    from .sessions import Sessions


HOST, PORT = "127.0.0.1", 7860
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# Seconds between two looks for visitors who left without a word.
_MINUTES = 300


def serve(
    settings: AppSettings,
    *,
    host: str = HOST,
    port: int = PORT,
    started: Callable[[str], None] = print,
    until: threading.Event | None = None,
) -> None:
    """
    Serves the app until it is stopped.

    Args:
        settings ([`AppSettings`]): The app's.
        host (`str`, *optional*): Address to listen on.
        port (`int`, *optional*): Port; 0 for any that is free.
        started (`Callable[[str], None]`, *optional*): Called with the address once it answers.
        until (`threading.Event`, *optional*): Stops it when set; without it, only an exception does, such as Ctrl-C's.

    Raises:
        InputError: If host or port cannot be used, or the extra `ui` is missing.
    """
    check_host(host, settings.hub_only)
    check_extra()
    prepare_environment(settings)
    from .sessions import Sessions

    sessions = Sessions(settings)
    with opened(sessions, host, port) as address:
        started(address)
        until = until or threading.Event()
        while not until.wait(_MINUTES):
            sessions.end_idle()


@contextmanager
def opened(sessions: "Sessions", host: str = HOST, port: int = 0) -> Iterator[str]:
    """
    Opens the page of an app; all visitors leave when the block ends.

    Args:
        sessions ([`~hf_finemix.app.sessions.Sessions`]): Its visitors.
        host (`str`, *optional*): Address to listen on.
        port (`int`, *optional*): Port; 0 for any that is free.

    Raises:
        InputError: If host or port cannot be used.
    """
    from starlette.middleware import Middleware

    from .gate import Gate
    from .page import build_page, find_fields

    settings = sessions.settings
    port = _check_port(host, port)
    page = build_page(sessions)
    gate = Middleware(
        Gate,
        uploads=settings.uploads,
        archives=settings.archives,
        most_uploaded=settings.most_uploaded,
        fields=find_fields(page),
        hosts=None if settings.hub_only else _LOCAL_HOSTS | {host},
    )
    place = nullcontext()
    if settings.hub_only:
        # A folder goes before a repository of the same name: from here there is none.
        settings.nowhere.mkdir(parents=True, exist_ok=True)
        place = chdir(settings.nowhere)
    with place, one_line_a_failure(), _launched(page, gate, sessions, host, port) as address:
        yield address


@contextmanager
def _launched(page: "Blocks", gate: "Middleware", sessions: "Sessions", host: str, port: int) -> Iterator[str]:
    from .page import theme
    from .style import CSS

    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            show_error=False,
            prevent_thread_lock=True,
            inbrowser=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            max_file_size=f"{sessions.settings.max_upload_mb}mb",
            app_kwargs={"middleware": [gate], "docs_url": None, "redoc_url": None, "openapi_url": None},
            theme=theme(),
            css=CSS,
        )
        yield address
    finally:
        sessions.end_all()
        page.close(verbose=False)


def check_extra() -> None:
    """
    Checks that what the app needs is installed.

    Raises:
        InputError: If it is not.
    """
    if find_spec("gradio") is None:
        raise InputError("The app needs Gradio, which is not installed; run `pip install hf-finemix[ui]`.")


def prepare_environment(settings: AppSettings) -> None:
    """
    Makes the work folder, and tells libraries to write nowhere else and to call nobody; before they are imported.

    Raises:
        InputError: If the client of the Hub was imported before, and would use a token of this machine for strangers.
    """
    for folder in (settings.sessions, settings.uploads, settings.archives, settings.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    variables = {
        "GRADIO_TEMP_DIR": str(settings.uploads),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MPLCONFIGDIR": str(settings.scratch),
    }
    if settings.hub_only:
        variables |= {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_CACHE": str(settings.hub_cache)}
    os.environ.update(variables)
    tempfile.tempdir = str(settings.scratch)
    if settings.hub_only:
        from huggingface_hub import constants

        if not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN or str(settings.hub_cache) != constants.HF_HUB_CACHE:
            raise InputError(
                "The client of the Hub was imported before the app, and would use this machine's token for strangers; "
                "start the app first, or set HF_HUB_DISABLE_IMPLICIT_TOKEN=1 and leave HF_HUB_CACHE to it."
            )


@contextmanager
def work_folder(named: str | Path | None) -> Iterator[Path]:
    """
    Gives the folder that an app writes to: a new one that is named, or a temporary one. It is gone afterwards.

    Raises:
        InputError: If the named one holds something or cannot be made.
    """
    if named is None:
        with tempfile.TemporaryDirectory(prefix="finemix-ui-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    folder = check_output(named, "--work-folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_port(host: str, port: int) -> int:
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"--host {host!r}, --port {port} cannot be used: {reason}; name others.") from None
        return found.getsockname()[1]
