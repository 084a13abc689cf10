"""Several processes that do one job together, as `accelerate launch` and torchrun start them."""

import os
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from .errors import InputError


_T = TypeVar("_T")
_SHARDING = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}


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


def check_whole_models(what: str) -> None:
    """
    Checks that no launcher asked for models that are cut up over the processes.

    Args:
        what (`str`): What needs whole models.

    Raises:
        InputError: If one did.
    """
    for name, kind in _SHARDING.items():
        if os.environ.get(name, "false").lower() in ("1", "true"):
            raise InputError(
                f"{what} needs the whole model in each process, but was launched with {kind}; launch it without, or "
                "use FineMixTrainer."
            )
