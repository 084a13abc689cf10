"""Calls of the page's buttons, read before Gradio reads them: it would fetch whatever address stands for a file."""

import json
from pathlib import Path
from typing import Any


# Bytes of a call; the longest honest one is a form with two texts of 5,000 characters.
LARGEST = 1_000_000
_KEPT = ("data", "fn_index", "session_hash", "trigger_id")
# For each call, whether each of its fields is one of files.
Fields = dict[int, tuple[bool, ...]]


def read_call(body: bytes, fields: Fields, uploads: Path) -> bytes | None:
    """
    Checks a call and writes it anew, so that nobody behind reads it in another way.

    Args:
        body (`bytes`): What was sent.
        fields (`dict[int, tuple[bool, ...]]`): For each call of the page, whether each of its fields is one of files.
        uploads (`Path`): The folder of uploads, resolved.

    Returns:
        `bytes`, *optional*: The call; `None` if the page makes none like it.
    """
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or type(call.get("fn_index")) is not int:
        return None
    are_files, values = fields.get(call["fn_index"]), call.get("data")
    if are_files is None or not isinstance(values, list) or len(values) != len(are_files):
        return None
    checked = []
    for value, is_file in zip(values, are_files, strict=True):
        if is_file and value is not None:
            value = _upload(value, uploads)
            if value is None:
                return None
        elif value is not None and not isinstance(value, (str, int, float)):
            return None
        checked.append(value)
    return json.dumps({name: call.get(name) for name in _KEPT} | {"data": checked}).encode()


def _upload(value: Any, uploads: Path) -> dict[str, Any] | None:
    # Of what the browser says about a file, its place alone counts: it names an address of the app too, and whatever
    # else stands there is not asked for.
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        return None
    path = value["path"]
    try:
        is_ours = Path(path).is_absolute() and Path(path).resolve().is_relative_to(uploads)
        if not is_ours or not Path(path).is_file():
            return None
    except (OSError, ValueError):
        return None
    return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}
