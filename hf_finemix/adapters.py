"""Adapters of PEFT, read as files that a stranger wrote."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .adapter_settings import AdapterSettings, read_settings
from .checks import check_finite
from .errors import InputError
from .loading import ADAPTER_CONFIG_FILE, TOKENIZER_FILES, Checkpoint, locate
from .safetensors_header import read_file
from .suspect_files import read_json_object


ADAPTER_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_PART = re.compile(
    r"(?P<module>.+?)\.(?P<part>lora_[AB]\.(?:weight|bias)|lora_embedding_[AB]|lora_magnitude_vector(?:\.weight)?"
    r"|ia3_l|(?:token_adapter\.)?trainable_tokens_delta|base_layer\.(?:bias|weight))"
)
# Of a classifier's head, the tensors that have a row for each label; the first that there is counts.
_HEAD = re.compile(r"(?:^|\.)(?:out_proj|classifier|score)\.weight")
# More than any classifier has; a model is made for so many before its weights are looked at.
_MOST_LABELS = 1 << 16


@dataclass(frozen=True)
class Adapter:
    """
    An adapter's files on this machine.

    Args:
        source (`str`): What the user gave.
        folder (`Path`): Where the files are.
        settings ([`~hf_finemix.adapter_settings.AdapterSettings`]): What its configuration says.
        parts (`dict[str, dict[str, torch.Tensor]]`): Its tensors by module and part.
        whole (`dict[str, torch.Tensor]`): Parameters that it replaces, such as a head.
        repo_id, commit (`str`, *optional*): Hub id and commit, if it came from the Hub.
    """

    source: str
    folder: Path
    settings: AdapterSettings
    parts: dict[str, dict[str, torch.Tensor]]
    whole: dict[str, torch.Tensor]
    repo_id: str | None = None
    commit: str | None = None

    @property
    def rank(self) -> int | None:
        """The largest rank of its changes; `None` if it has none."""
        factors = (parts.get("lora_A.weight", parts.get("lora_embedding_A")) for parts in self.parts.values())
        return max((len(factor) for factor in factors if factor is not None), default=None)

    @property
    def num_labels(self) -> int | None:
        """Number of labels that its head tells apart; `None` if it brings no head."""
        heads = [name for name, tensor in self.whole.items() if _HEAD.search(name) and tensor.dim() == 2]
        last = min(heads, key=lambda name: ("out_proj" not in name, name), default=None)
        if last is None or not self.whole[last].numel() or len(self.whole[last]) > _MOST_LABELS:
            return None
        return len(self.whole[last])


def adapter_files(adapter: Adapter) -> Checkpoint:
    """Returns an adapter's files in the form in which those of a model are listed."""
    weights = (adapter.folder / ADAPTER_FILE,)
    return Checkpoint(adapter.source, adapter.folder, {}, weights, adapter.repo_id, adapter.commit)


def resolve_adapter(source: str | Path, argument: str = "ADAPTER") -> Adapter:
    """
    Reads an adapter from a folder or the Hub.

    Args:
        source (`str` or `Path`): A local folder, a Hub id, or `id@revision`.
        argument (`str`, *optional*, defaults to `"ADAPTER"`): Name of the argument, for messages.

    Raises:
        InputError: If there is none, it is none that can be merged, or it holds NaN or infinity.
    """
    what = f"{argument} {str(source)!r}"
    folder, repo_id, commit = locate(source, argument, (ADAPTER_CONFIG_FILE, ADAPTER_FILE, *TOKENIZER_FILES))
    if not (folder / ADAPTER_CONFIG_FILE).is_file():
        raise InputError(f"{what} has no {ADAPTER_CONFIG_FILE}; give the folder of an adapter, or a Hub id.")
    settings = read_settings(read_json_object(folder / ADAPTER_CONFIG_FILE, what), what)
    path = folder / ADAPTER_FILE
    if not path.is_file():
        raise InputError(f"{what} has no {ADAPTER_FILE}; a pickle is never loaded.")
    read_file(path, what)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{what} has a damaged {ADAPTER_FILE}: {str(error)[:120]}") from None
    check_finite(((name, tensor) for name, tensor in tensors.items() if tensor.is_floating_point()), argument)
    parts: dict[str, dict[str, torch.Tensor]] = {}
    whole = {}
    for name, tensor in tensors.items():
        if not name.startswith(_PREFIX) or not tensor.is_floating_point():
            raise InputError(f"{what} holds {name[:80]!r}, which is no part of an adapter.")
        match = _PART.fullmatch(name.removeprefix(_PREFIX))
        if match is None:
            whole[name.removeprefix(_PREFIX)] = tensor
        else:
            parts.setdefault(match["module"], {})[match["part"].removeprefix("token_adapter.")] = tensor
    return Adapter(str(source), folder, settings, parts, whole, repo_id, commit)
