"""What config.json of a suspect may say: names of code, files and other repositories stay out, sizes are sane."""

import math
import re
from collections.abc import Mapping
from typing import Any

from .errors import InputError


# Names of code, of files, and of the folder that a model once was loaded from.
NOT_TAKEN = {
    *("auto_map", "custom_pipelines", "auto_class", "sentence_transformers"),
    *("_name_or_path", "name_or_path", "_commit_hash"),
}
_PLACE = re.compile(r"(?:^|_)(?:file|filename|path|dir|directory|folder|url)s?$")
# These can name code on the Hub.
_CODE = {
    *("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation"),
    *("kernel_config", "use_kernels"),
}
_WEIGHTS = "transformers_weights"
_LAYERS = re.compile(r"(?:n|num)_(?:\w+_)?(?:layers?|blocks?|stages?)|(?:en|de)coder_(?:layers|depth)|depths?")
_LARGEST = 2**63 - 1
_MOST_EXPERTS = 1 << 16
# Layers may share their weights.
_FEW_LAYERS = 512
MOST_LABELS = 1 << 16
_LONGEST_LABEL = 10_000
_LABELS = {"id2label", "label2id"}
# The one key of an object that stands for infinity.
_FLOAT = "__float__"


def plain_config(config: Mapping[str, Any], what: str, tensors: int | None = None) -> dict[str, Any]:
    """
    Returns what is taken of a configuration that a stranger wrote. Pure function.

    Types of single entries are checked where their model is known, see [`~hf_finemix.model_loading.read_model`].

    Args:
        config (`Mapping[str, Any]`): The content of config.json.
        what (`str`): The model, for messages.
        tensors (`int`, *optional*): Number of tensors of the weights that hold anything; no model has more layers,
            unless they share their weights.

    Raises:
        InputError: If it asks for code, weights of another place, quantisation, or an absurd size.
    """
    if config.get("quantization_config") is not None:
        raise InputError(f"{what} is quantised; give the unquantised checkpoint.")
    if config.get(_WEIGHTS) is not None:
        raise InputError(f"{what} names its weights in config.json ({_WEIGHTS}); rename them model.safetensors.")
    _check_labels(config, what)
    return _taken(config, what, tensors)


def decoded(value: Any) -> Any:
    """Returns entries of config.json with infinity as a number again."""
    if isinstance(value, dict):
        if value.keys() == {_FLOAT} and value[_FLOAT] in ("Infinity", "-Infinity", "NaN"):
            return float(value[_FLOAT])
        return {key: decoded(item) for key, item in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value


def _taken(part: Mapping[str, Any], what: str, tensors: int | None) -> dict[str, Any]:
    found = {}
    for key, value in part.items():
        if key in _CODE and "/" in str(value):
            # An implementation with a slash in its name is a repository whose code would be fetched and run.
            name = str(value)[:80]
            raise InputError(f"{what} asks in config.json for code from the Hub ({name!r}); remove that entry.")
        if key == "use_pretrained_backbone" and value:
            raise InputError(f"{what} asks in config.json for another model's weights ({key}); remove that entry.")
        if key in NOT_TAKEN or (_PLACE.search(key) and isinstance(value, str)):
            continue
        _check_size(key, value, what, tensors)
        # Names of labels are nobody's keys.
        found[key] = _labels(value) if key in _LABELS else _plain(value, what, tensors)
    return found


def _plain(value: Any, what: str, tensors: int | None) -> Any:
    if isinstance(value, dict):
        return _taken(value, what, tensors)
    if isinstance(value, float) and not math.isfinite(value):
        # As transformers writes it, since JSON has no such number.
        return {_FLOAT: str(value).replace("inf", "Infinity").replace("nan", "NaN")}
    if isinstance(value, list):
        return [_plain(item, what, tensors) for item in value]
    return value


def _labels(value: Any) -> Any:
    # Some have numbers as names; in `label2id`, numbers are ids.
    is_names = isinstance(value, dict) and all(str(key).isdigit() for key in value)
    return {key: str(name) for key, name in value.items()} if is_names else value


def _check_size(key: str, value: Any, what: str, tensors: int | None) -> None:
    for number in value if isinstance(value, list) else (value,):
        if not isinstance(number, int) or isinstance(number, bool):
            continue
        absurd = not -_LARGEST <= number <= _LARGEST
        absurd |= tensors is not None and bool(_LAYERS.fullmatch(key)) and number > max(tensors, _FEW_LAYERS)
        absurd |= "experts" in key and number > _MOST_EXPERTS
        if absurd:
            raise InputError(f"{what} has a config.json whose {key[:60]!r} is {_short(number)}, which cannot be.")


def _check_labels(config: Mapping[str, Any], what: str) -> None:
    labels, count = config.get("id2label"), config.get("num_labels")
    number = len(labels) if isinstance(labels, (dict, list)) else 0
    if number > MOST_LABELS or (isinstance(count, int) and count > MOST_LABELS):
        raise InputError(f"{what} has more than {MOST_LABELS} labels in its config.json.")
    names = labels.values() if isinstance(labels, dict) else ()
    plain = isinstance(labels, dict) and all(isinstance(name, (str, int)) for name in names)
    if labels is not None and not plain:
        raise InputError(f"{what} has names of labels in its config.json that are no texts.")
    if any(isinstance(name, str) and len(name) > _LONGEST_LABEL for name in names):
        raise InputError(f"{what} has a label of more than {_LONGEST_LABEL} characters in its config.json.")


def _short(number: int) -> str:
    # Python refuses to write out a number of more than some thousands of digits.
    return str(number) if abs(number) < 10**18 else f"a number of {number.bit_length()} bits"
