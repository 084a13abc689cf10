"""Records and JSON: written so that they read well, read as if a stranger had written them."""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

import yaml

from .errors import InputError, reason


# A manifest or report of a large model with a large vocabulary stays far below.
_LARGEST = 1 << 26
# Training arguments, the one place where anything goes, are nested a few levels deep.
_DEEPEST = 20
_T = TypeVar("_T")


class Record:
    """
    A dataclass that JSON can hold, and that checks what it is rebuilt from.

    Its annotations are plain types, other records, `tuple[T, ...]`, `dict[K, T]`, `Any` and unions of them.
    """

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """
        Rebuilds a record from what `to_dict` gives, be it straight or by way of JSON.

        Raises:
            TypeError: If a value is not of the type that its field is declared with.
            ValueError: If a field is unknown or missing.
        """
        if not isinstance(data, dict):
            raise TypeError(f"{cls.__name__} is a {type(data).__name__}")
        hints = {item.name: hint for item, hint in zip(fields(cls), _hints(cls), strict=True)}
        required = {item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING}
        wrong = sorted((data.keys() - hints) | (required - data.keys()))
        if wrong:
            raise ValueError(f"field {wrong[0]!r} of {cls.__name__} is unknown or missing")
        return cls(**{name: _convert(value, hints[name], name) for name, value in data.items()})


def _hints(cls: type) -> list[Any]:
    hints = get_type_hints(cls)
    return [hints[item.name] for item in fields(cls)]


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _convert(value: Any, hint: Any, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        _check_plain(value, name)
        return value
    if is_dataclass(hint):
        return hint.from_dict(value)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(item, arguments[0], name) for item in value)
    if origin is dict and isinstance(value, dict):
        key_type, item_type = arguments
        return {key_type(key): _convert(item, item_type, name) for key, item in value.items()}
    if origin not in (tuple, dict) and arguments:
        # A union; all of ours are of one type or `None`.
        return None if value is None else _convert(value, arguments[0], name)
    # A boolean is an integer to Python, and an integer is a fair value for a float.
    accepted = (int, float) if hint is float else hint
    if origin or not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{name} is {value!r}")
    _check_plain(value, name)
    return value


def _check_plain(value: Any, name: str, depth: int = 0) -> None:
    # JSON can hold numbers that no float can, and strings that UTF-8 cannot.
    if depth > _DEEPEST:
        raise ValueError(f"{name} is nested too deeply")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, (int, float)) and not abs(value) < 2**64:
        raise ValueError(f"{name} holds a number that is none or out of all proportion")
    elif isinstance(value, (list, tuple, dict)):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _check_plain(item, name, depth + 1)


def check_version(found: Any, known: int) -> None:
    """
    Refuses a file of a version that is not known.

    Raises:
        ValueError: If the versions differ.
    """
    if found != known:
        raise ValueError(f"its version is {found!r}, but this release reads version {known}")


def to_json(content: dict[str, Any]) -> str:
    """Returns JSON that reads well and ends with a newline; NaN is refused."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path, parse: Callable[[dict[str, Any]], _T]) -> _T:
    """
    Reads a JSON file and makes something of its content.

    Args:
        path (`Path`): The file.
        parse (`Callable`): Makes the result; whatever it raises on a content of another form counts as damage.

    Raises:
        InputError: If there is no such file, or it is damaged.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{str(path.parent)!r} has no {path.name}; give an output folder of hf-finemix.") from None
    except Exception as error:
        raise InputError(f"{str(path)!r} is damaged ({reason(error, 120)}).") from None


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((name for name in names if names.count(name) > 1), None)
        # YAML forbids it; the first of the two would be lost without a word.
        if twice is not None:
            raise ValueError(f"it holds {twice!r} twice")
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        # A few aliases of aliases stand for more items than any memory can hold.
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it holds aliases")
        return super().compose_node(parent, index)


def read_yaml(text: str) -> Any:
    """
    Reads YAML of a stranger.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        return yaml.load(text, _Loader)
    # PyYAML meets `!!int ""`, `!!timestamp x` and the like with whatever exception it comes across.
    except Exception as error:
        raise ValueError(reason(error, 100)) from None
