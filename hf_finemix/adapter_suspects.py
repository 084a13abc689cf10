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


def resolve_suspect(
    source: str | Path, pretrained: Checkpoint, argument: str, labels: Sequence[str] | None = None
) -> Suspect:
    """
    Finds a suspect, be it a whole model or an adapter of PEFT, which is merged into its base.

    Args:
        source (`str` or `Path`): A local folder, a Hub id, or `id@revision`.
        pretrained ([`~hf_finemix.loading.Checkpoint`]): The base that the user names.
        argument (`str`): Name of the argument, for messages.
        labels (`Sequence[str]`, *optional*): Names of a classifier's labels, which an adapter does not know.

    Raises:
        InputError: If nothing is there, it cannot be read safely, or the adapter does not fit the base.
    """
    try:
        found = resolve_checkpoint(source, argument)
    except IsAdapterError:
        return merged_suspect(resolve_adapter(source, argument), pretrained, labels)
    if labels is not None:
        raise InputError(f"--labels are for adapters, but {argument} {str(source)!r} is a whole model.")
    return Suspect(found, found)


def is_language_model(source: str | Path, argument: str) -> bool:
    """
    Tells whether a suspect answers in words, be it a whole model or an adapter, without loading it.

    Raises:
        InputError: If nothing is there, or it cannot be read safely.
    """
    try:
        return is_generator(resolve_checkpoint(source, argument))
    except IsAdapterError:
        return resolve_adapter(source, argument).settings.task == "CAUSAL_LM"


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
