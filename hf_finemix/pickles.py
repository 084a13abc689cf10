"""A suspect whose weights are a pickle, converted to safetensors in a process that may do nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import InputError
from .loading import CARD_FILE, CONFIG_FILE, TOKENIZER_FILES, Checkpoint, locate, resolve_checkpoint
from .output import check_output, replace_text, staged_folder
from .plain_config import plain_config
from .serialization import to_json
from .suspect_files import check_file, check_files, read_json_object
from .tokenizer_files import copy_tokenizer


_PICKLE, _INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_PATTERNS = (_PICKLE, _INDEX, "pytorch_model-*-of-*.bin")
_SECONDS = 3600


def convert_pickle(suspect: str | Path, output: str | Path) -> Path:
    """
    Converts pickled weights to safetensors, with configuration and tokenizer beside them.

    The pickle is read by a process of its own: by PyTorch's reader of weights alone, with limits on memory, time and
    files, without the user's environment, and with an audit hook that hinders other things. What remains is the risk
    of a flaw in that reader: do it on a machine that you can lose.

    Args:
        suspect (`str` or `Path`): A local folder, a Hub id, or `id@revision`.
        output (`str` or `Path`): New folder.

    Returns:
        `Path`: The folder, which the other functions take as a suspect.

    Raises:
        InputError: If there is no such pickle, it holds anything but tensors, or it tries anything else.
    """
    folder = check_output(output)
    what = f"SUSPECT {str(suspect)!r}"
    source, _, _ = locate(suspect, "SUSPECT", (CONFIG_FILE, CARD_FILE, *TOKENIZER_FILES, *_PATTERNS))
    check_files(source, _PATTERNS, what)
    config = plain_config(read_json_object(source / CONFIG_FILE, what), what)
    names = _pickles(source, what)
    with staged_folder(folder) as staging:
        parts = {}
        for number, name in enumerate(names, start=1):
            single = len(names) == 1
            part = "model.safetensors" if single else f"model-{number:05d}-of-{len(names):05d}.safetensors"
            _convert(source / name, staging / part, f"{what}: {name}")
            parts[part] = staging / part
        if len(parts) > 1:
            replace_text(staging / "model.safetensors.index.json", to_json(_index(parts)))
        replace_text(staging / CONFIG_FILE, to_json(config))
        copy_tokenizer(Checkpoint(str(suspect), source, {}, ()), staging, what)
        if (source / CARD_FILE).is_file():
            # For the licence that it states.
            shutil.copyfile(source / CARD_FILE, staging / CARD_FILE)
        # As a stranger's, since it is one.
        resolve_checkpoint(staging, "SUSPECT")
    return folder


def _pickles(folder: Path, what: str) -> list[str]:
    if (folder / _PICKLE).is_file():
        return [_PICKLE]
    if not (folder / _INDEX).is_file():
        raise InputError(f"{what} has no {_PICKLE}; there is nothing to convert.")
    shards = read_json_object(folder / _INDEX, what).get("weight_map")
    names = sorted(set(shards.values())) if isinstance(shards, dict) and all(map(_is_name, shards.values())) else []
    for name in names:
        check_file(folder, name, what)
    missing = [name for name in names if not (folder / name).is_file()]
    if not names or missing:
        raise InputError(f"{what} has an index that names no shards, or some that are not there.")
    return names


def _is_name(value: object) -> bool:
    return isinstance(value, str) and Path(value).name == value and value.endswith(".bin") and "\0" not in value


def _convert(source: Path, target: Path, what: str) -> None:
    command = [sys.executable, "-m", "hf_finemix.pickle_reader", str(source.absolute()), str(target.absolute())]
    # Nothing of the user's: no token, no proxy, no path but the one to this package.
    variables = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1", "PATH": os.defpath}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=variables,
            cwd=target.parent,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{what} took more than {_SECONDS} seconds to read.") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1][:200] if lines else f"the process ended with {done.returncode}"
        raise InputError(f"{what} is no plain pickle of tensors: {said}.")


def _index(parts: dict[str, Path]) -> dict[str, object]:
    from .safetensors_header import read_file

    files = {name: read_file(path, "output") for name, path in parts.items()}
    size = sum(tensor.size for file in files.values() for tensor in file.tensors)
    weights = {tensor.name: name for name, file in files.items() for tensor in file.tensors}
    return {"metadata": {"total_size": size}, "weight_map": weights}
