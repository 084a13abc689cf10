"""A stranger's chat template, tried once where it can do no harm: it may loop for hours, or fill the memory."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError


_SECONDS = 5
_MEMORY = 1 << 30
_TOO_LARGE = 5


def try_template(render: Callable[[], Any]) -> None:
    """
    Runs a template in a process of its own, with limits on time and memory; does nothing where there is no fork.

    A template that fails otherwise passes: the caller sees it fail by itself.

    Args:
        render (`Callable`): Renders one conversation.

    Raises:
        InputError: If it takes more than 5 seconds of the processor, or a gigabyte of memory.
    """
    if not hasattr(os, "fork"):
        return
    with warnings.catch_warnings():
        # The child renders and ends; it does not wait for a thread that is not there.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _render_and_end(render)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise InputError(f"The tokenizer's chat template takes more than {_SECONDS} seconds for one conversation.")
    if os.WEXITSTATUS(status) == _TOO_LARGE:
        raise InputError("The tokenizer's chat template takes more than 1 GB of memory for one conversation.")


def _render_and_end(render: Callable[[], Any]) -> None:
    # Where there is a fork, there is this module, too.
    import resource

    status = 0
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        if sys.platform == "linux":
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
        render()
    except MemoryError:
        status = _TOO_LARGE
    except BaseException:
        status = 0
    finally:
        os._exit(status)
