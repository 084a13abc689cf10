"""Models and tokenizers from files that were checked: nothing of theirs runs, and each failure is one line."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .loading import Checkpoint, loading_errors
from .memory import check_memory
from .output import scratch_folder
from .safetensors_header import StoredTensor, read_file
from .stored import TORCH_NAMES
from .suspect_files import read_json_object
from .tensor_names import is_buffer, modern_name


# Transformers is imported where it is used: that takes seconds, and what reads files alone does not need it.
if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_TEMPLATE_NAME = re.compile(r"\w[\w-]{0,60}", re.ASCII)
_GENERATOR = ("ForCausalLM", "LMHeadModel")


def is_generator(checkpoint: Checkpoint) -> bool:
    """Tells whether a checkpoint is a causal language model, by the class that its config.json names."""
    return str(_architecture(checkpoint)).endswith(_GENERATOR)


def load_classifier(checkpoint: Checkpoint, argument: str) -> "PreTrainedModel":
    """
    Loads a sequence classifier in the dtype it was saved in, on the CPU.

    Raises:
        InputError: If the checkpoint is another kind of model, or some of its weights are missing.
    """
    architecture = _architecture(checkpoint)
    if not isinstance(architecture, str) or not architecture.endswith("ForSequenceClassification"):
        raise InputError(
            f"{argument} {checkpoint.source!r} has the architecture {architecture!r} in its config.json, but must be "
            "a sequence classifier (named ...ForSequenceClassification)."
        )
    from transformers import AutoModelForSequenceClassification

    return load_complete(AutoModelForSequenceClassification, checkpoint, argument)


def load_generator(checkpoint: Checkpoint, argument: str) -> "PreTrainedModel":
    """
    Loads a causal language model in the dtype it was saved in, on the CPU.

    Raises:
        InputError: If the checkpoint is another kind of model, or some of its weights are missing.
    """
    if not is_generator(checkpoint):
        raise InputError(
            f"{argument} {checkpoint.source!r} has the architecture {_architecture(checkpoint)!r} in its config.json, "
            "but must be a causal language model (named ...ForCausalLM)."
        )
    from transformers import AutoModelForCausalLM

    return load_complete(AutoModelForCausalLM, checkpoint, argument)


def load_model(checkpoint: Checkpoint, argument: str, answers: bool) -> "PreTrainedModel":
    """Loads a language model if it is to answer, or else a classifier; raises what these raise."""
    return (load_generator if answers else load_classifier)(checkpoint, argument)


def load_complete(cls: Any, checkpoint: Checkpoint, argument: str) -> "PreTrainedModel":
    """
    Loads a model of which no weight may be missing; see [`read_model`].

    Raises:
        InputError: If one is missing or has another shape, or the model cannot be loaded.
    """
    model, info = read_model(cls, checkpoint, f"{argument} {checkpoint.source!r}")
    if info["missing_keys"]:
        raise InputError(f"{argument} {checkpoint.source!r} lacks weights, among them {min(info['missing_keys'])}.")
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise InputError(
            f"{argument} {checkpoint.source!r} holds {name} with shape {tuple(found)}, but its config.json asks for "
            f"{tuple(wanted)}."
        )
    return model.eval()


def read_model(
    cls: Any, checkpoint: Checkpoint, what: str, entries: Mapping[str, Any] | None = None, **options: Any
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """
    Makes a model of a checkpoint's weights: safetensors alone, no code of theirs, by default in the dtype they have.

    Its configuration is made of what was checked, not read again; the model is made only if it is about as large as
    its weights.

    Args:
        cls (`type`): A model class of transformers, or one that finds it.
        checkpoint ([`~hf_finemix.loading.Checkpoint`]): The files.
        what (`str`): The model, for messages.
        entries (`Mapping[str, Any]`, *optional*): Entries of the configuration that are to be others.
        options: What else `from_pretrained` takes, a whole configuration (`config`) among it.

    Returns:
        `tuple[PreTrainedModel, dict]`: The model, and which keys were missing or of another shape.

    Raises:
        InputError: If it cannot be loaded, does not fit into the memory that is left, is larger than its weights, or
            these change meanwhile.
    """
    from .model_configs import check_size, make_config
    from .partitions import loaded_whole

    files = [read_file(path, what) for path in checkpoint.weights]
    tensors = [tensor for file in files for tensor in file.tensors]
    for tensor in tensors:
        if _is_parameter(tensor) and tensor.dtype not in TORCH_NAMES:
            raise InputError(f"{what} is quantised: {tensor.name} is {tensor.dtype}; give it in floating point.")
    check_memory(sum(tensor.size for tensor in tensors), what)
    with loading_errors(what), loaded_whole():
        config = options.pop("config", None) or make_config(cls, checkpoint, what, entries or {})
        check_size(cls, config, sum(tensor.numel for tensor in tensors), sum(tensor.size > 0 for tensor in tensors))
        found = cls.from_pretrained(
            checkpoint.folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **({"dtype": "auto"} | options),
        )
    changed = next((file.path.name for file in files if file.has_changed()), None)
    if changed is not None:
        raise InputError(f"{what} changed while it was read: {changed} is another file now.")
    return found


def _is_parameter(tensor: StoredTensor) -> bool:
    name = modern_name(tensor.name)
    return name.rsplit(".", 1)[-1] in ("weight", "bias") and not is_buffer(name, tensor.shape)


def load_tokenizer(checkpoint: Checkpoint, argument: str) -> "PreTrainedTokenizerBase":
    """
    Loads the tokenizer that lies beside a model.

    Raises:
        InputError: If there is none, or it cannot be read.
    """
    if not checkpoint.has_tokenizer:
        raise InputError(f"{argument} {checkpoint.source!r} has no tokenizer files; copy them from its base model.")
    _check_tokenizer(checkpoint.folder, f"{argument} {checkpoint.source!r}")
    from transformers import AutoTokenizer

    from .tokenizer_files import copy_tokenizer

    what = f"{argument} {checkpoint.source!r}"
    with scratch_folder() as place:
        copy_tokenizer(checkpoint, Path(place), what)
        with loading_errors(what):
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    tokenizer.name_or_path = tokenizer.init_kwargs["name_or_path"] = str(checkpoint.folder)
    return tokenizer


def _check_tokenizer(folder: Path, what: str) -> None:
    """Refuses settings of a tokenizer that name a file of this machine: it would be read, and end up in the output."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return
    content = read_json_object(path, what)
    templates = content.get("chat_template")
    for template in templates if isinstance(templates, list) else ():
        # Each would be saved as a file of its name.
        name = template.get("name") if isinstance(template, dict) else None
        if not isinstance(name, str) or not _TEMPLATE_NAME.fullmatch(name):
            raise InputError(f"{what} has a chat template of the name {str(name)[:60]!r}, which is no plain name.")
    for key, value in content.items():
        names_file = key in ("vocab", "merges") or key.endswith(("_file", "_path"))
        # Old tokenizers state where their files once were, on the machine of somebody else.
        if names_file and isinstance(value, str) and os.path.exists(os.path.expanduser(value)):
            raise InputError(
                f"{what} has a tokenizer_config.json whose {key!r} names a file of this machine; remove it."
            )


def _architecture(checkpoint: Checkpoint) -> Any:
    architectures = checkpoint.config.get("architectures")
    return architectures[0] if isinstance(architectures, list) and architectures else None
