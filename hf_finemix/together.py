"""Several processes that do one job together, as `accelerate launch` and torchrun start them."""

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from .errors import InputError


_T = TypeVar("_T")
FSDP, DEEPSPEED = "FSDP", "DeepSpeed"
_VARIABLES = {FSDP: "ACCELERATE_USE_FSDP", DEEPSPEED: "ACCELERATE_USE_DEEPSPEED"}


def processes() -> PartialState:
    """
    Returns the processes of this job, and joins them if it was not done yet.

    Without an accelerator these are processes of the CPU, which `PartialState` by itself takes for strangers.
    """
    return PartialState(cpu=not torch.accelerator.is_available())


def agreed(value: _T) -> _T:
    """Returns the main process's value on every process: what devices round otherwise must not part their ways."""
    if processes().num_processes == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]


def was_asked_for(kind: str) -> bool:
    """Tells whether the launcher asked for `FSDP` or `DEEPSPEED`."""
    return os.environ.get(_VARIABLES[kind], "false").lower() in ("1", "true")


def check_whole_models(what: str) -> None:
    """
    Checks that no launcher asked for models that are cut up over the processes.

    Args:
        what (`str`): What needs whole models.

    Raises:
        InputError: If one did.
    """
    for kind in _VARIABLES:
        if was_asked_for(kind):
            raise InputError(
                f"{what} needs the whole model in each process, but was launched with {kind}; launch it without, or "
                "use FineMixTrainer."
            )


def leave(status: int) -> None:
    """
    Ends this process if it met others, without taking Python down; belongs at the end of a program.

    A thread of gloo that gives a tensor back while Python shuts down aborts the process, or waits for it forever, when
    all work is done. Destroying the group first does not help as long as a wrapped model holds on to it.

    Args:
        status (`int`): The exit status.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    # What Python does at its end, up to where it takes itself down: threads that were started, temporary folders.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # A closed one is `None`, and whoever read a pipe may have seen enough.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)
