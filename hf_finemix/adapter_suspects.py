"""A suspect that is an adapter: merged into the base that the user names, for as long as it is looked at."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .adapter_models import merge_adapter
from .adapters import Adapter, adapter_files, resolve_adapter
from .errors import InputError, IsAdapterError
from .loading import Checkpoint, resolve_checkpoint
from .model_loading import is_generator
from .records import AdapterRecord


_ARGUMENT = "SUSPECT"


@dataclass(frozen=True)
class Suspect:
    """
    A suspect's files.

    Args:
        model ([`~hf_finemix.loading.Checkpoint`]): The whole model.
        origin ([`~hf_finemix.loading.Checkpoint`]): What the user gave: the same, or the adapter's files.
        adapter ([`~hf_finemix.records.AdapterRecord`], *optional*): What kind of adapter it came as.
        named_base (`str`, *optional*): The base that the adapter names, which nobody looks at.
        scratch (`tempfile.TemporaryDirectory`, *optional*): Where the merged model is, until this is let go of.
    """

    model: Checkpoint
    origin: Checkpoint
    adapter: AdapterRecord | None = None
    named_base: str | None = None
    scratch: tempfile.TemporaryDirectory | None = None


def find_suspect(source: str | Path) -> Checkpoint | Adapter:
    """
    Finds a suspect, be it a whole model or an adapter of PEFT.

    Args:
        source (`str` or `Path`): A local folder, a Hub id, or `id@revision`.

    Raises:
        InputError: If nothing is there, or it cannot be read safely.
    """
    try:
        return resolve_checkpoint(source, _ARGUMENT)
    except IsAdapterError:
        return resolve_adapter(source, _ARGUMENT)


def whole_suspect(found: Checkpoint | Adapter, pretrained: Checkpoint, labels: Sequence[str] | None = None) -> Suspect:
    """
    Returns a suspect as a whole model: an adapter is merged into its base.

    Args:
        found ([`~hf_finemix.loading.Checkpoint`] or [`~hf_finemix.adapters.Adapter`]): From [`find_suspect`].
        pretrained ([`~hf_finemix.loading.Checkpoint`]): The base that the user names.
        labels (`Sequence[str]`, *optional*): Names of a classifier's labels, which an adapter does not know.

    Raises:
        InputError: If the adapter does not fit the base, or a whole model is given labels.
    """
    if isinstance(found, Adapter):
        return merged_suspect(found, pretrained, labels)
    if labels is not None:
        raise InputError(f"--labels are for adapters, but {_ARGUMENT} {found.source!r} is a whole model.")
    return Suspect(found, found)


def is_language_model(found: Checkpoint | Adapter) -> bool:
    """Tells whether a suspect answers in words, without loading it."""
    return found.settings.task == "CAUSAL_LM" if isinstance(found, Adapter) else is_generator(found)


def merged_suspect(adapter: Adapter, pretrained: Checkpoint, labels: Sequence[str] | None) -> Suspect:
    """
    Merges an adapter into a base, in a folder of its own.

    Raises:
        InputError: If they do not fit.
    """
    scratch = tempfile.TemporaryDirectory(prefix="finemix-")
    merged = Path(scratch.name) / "merged"
    merge_adapter(adapter, pretrained, merged, labels=labels)
    found = resolve_checkpoint(merged, "SUSPECT")
    model = Checkpoint(adapter.source, merged, found.config, found.weights)
    modules = tuple(sorted(adapter.parts))
    record = AdapterRecord(adapter.settings.method, adapter.rank, modules, tuple(labels or ()))
    return Suspect(model, adapter_files(adapter), record, adapter.settings.base, scratch)
