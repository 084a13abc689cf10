"""Parameters that DeepSpeed (ZeRO-3) cut up over several processes: whole while they are looked at or changed."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from transformers.integrations import deepspeed as settings

from .errors import InputError


_F = TypeVar("_F", bound=Callable[..., Any])


def is_partitioned(tensor: torch.Tensor) -> bool:
    """Tells whether the values of a parameter are in parts elsewhere, and what is here is empty."""
    status = getattr(tensor, "ds_status", None)
    return status is not None and status.name != "AVAILABLE"


@contextmanager
def gathered(model: Any, changed: bool = False) -> Iterator[None]:
    """
    Gives each process the whole parameters of a model for a while; every process has to come here.

    Their devices must have room for all of them at once. Does nothing to a model that is whole already.

    Args:
        model (`torch.nn.Module`): The model; what is none is left to the checks inside.
        changed (`bool`, *optional*, defaults to `False`): Keep what the first process makes of them.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    cut_up = [parameter for parameter in parameters if is_partitioned(parameter)]
    if not cut_up:
        yield
        return
    from deepspeed import zero

    with zero.GatheredParameters(cut_up, modifier_rank=0 if changed else None):
        yield


def on_whole(changed: bool = False) -> Callable[[_F], _F]:
    """Makes a function of a model, its first argument, see whole parameters; as [`gathered`]."""

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def with_whole(model: Any, *args: Any, **kwargs: Any) -> Any:
            with gathered(model, changed):
                return function(model, *args, **kwargs)

        return with_whole

    return decorate


@contextmanager
def loaded_whole() -> Iterator[None]:
    """Lets `from_pretrained` load whole models here, although those that are trained are cut up as they are loaded."""
    reference = settings._hf_deepspeed_config_weak_ref
    config = None if reference is None else reference()
    settings.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            settings.set_hf_deepspeed_config(config)


def check_whole(model: nn.Module, argument: str) -> None:
    """
    Refuses a model that is cut up.

    Raises:
        InputError: If it is.
    """
    if any(map(is_partitioned, model.parameters())):
        raise InputError(f"`{argument}` is cut up by DeepSpeed; give a Hub id or a folder, or load it before.")
