"""Which files may be published, and which files of a folder count when a model is loaded from it."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .errors import InputError
from .hashes import FileRecord, sha256_file
from .html_report.parts import HTML_FILE
from .loading import CARD_FILE, CONFIG_FILE, INDEX_FILE, TOKENIZER_FILES, WEIGHTS_FILE
from .manifest import MANIFEST_FILE, Manifest


GENERATION_FILE = "generation_config.json"
CHAT_TEMPLATES = "additional_chat_templates/"
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
)

# Everything that transformers may read from a folder, pickles and code included.
_LOADED = (
    CONFIG_FILE,
    GENERATION_FILE,
    INDEX_FILE,
    *TOKENIZER_FILES,
    "*.safetensors",
    "adapter_config.json",
    *PROCESSOR_FILES,
    "pytorch_model*.bin",
    "pytorch_model*.bin.index.json",
    "adapter_model.bin",
    "tf_model.h5",
    "flax_model.msgpack",
    f"{CHAT_TEMPLATES}*",
)
# The same model in forms that other programs load.
_CONVERTED = ("*.onnx", "*.gguf", "*.tflite", "*.mlmodel", "*.mlpackage/*", "openvino_model.*")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.joblib", "*.dill", "*.npy", "*.npz")
# First bytes of a pickle of protocol 2 and later, and of a zip archive, which torch puts its pickles into.
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6)) + (b"PK\x03\x04",)
_TOKEN = re.compile(rb"(?:hf|api_org)_[A-Za-z0-9]{30,}|hf_(?:oauth|jwt)_[\w.-]{20,}")
_CHUNK = 1 << 22


def is_loaded(name: str) -> bool:
    """Tells whether transformers loads a file of this name (a path below the model's folder) with the model."""
    return _matches(name, _LOADED)


def is_suspicious(name: str) -> bool:
    """Tells whether a file of this name has no place beside a model that is to be trusted: pickles and code, too."""
    return _matches(name, (*_LOADED, *_PICKLES, "*.py"))


def is_conversion(name: str) -> bool:
    """Tells whether a file of this name, in whatever folder, holds a model in the form of another program."""
    return any(fnmatchcase(name, pattern) for pattern in _CONVERTED)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    # Only patterns with a slash mean files in other folders.
    return any(fnmatchcase(name, pattern) for pattern in patterns if "/" in pattern or "/" not in name)


def check_files(folder: Path, manifest: Manifest, token: str) -> None:
    """
    Checks that a folder is fit to be published: whole, unchanged since it was made, no pickle, no token.

    The card may have been changed: its owner's parts are kept, ours is rendered again, as is the whole page.

    Args:
        folder (`Path`): The output folder.
        manifest ([`~hf_finemix.manifest.Manifest`]): Its manifest.
        token (`str`): The token in use, to search for; may be empty.

    Raises:
        InputError: Names the first file that is not fit.
    """
    names = {file.name for file in manifest.outputs}
    if CONFIG_FILE not in names or not names & {WEIGHTS_FILE, INDEX_FILE}:
        raise InputError(f"{str(folder)!r} has a manifest that lists no model; make the folder anew.")
    for file in manifest.outputs:
        if file.name != HTML_FILE:
            check_file(folder, file, token.encode())
    if holds_token(folder / MANIFEST_FILE, token.encode()):
        raise InputError(
            f"{MANIFEST_FILE} in {str(folder)!r} holds a token of the Hub; remove it, and revoke the token."
        )


def check_file(folder: Path, file: FileRecord, token: bytes) -> None:
    """
    Checks one file; see [`check_files`].

    Raises:
        InputError: If it is not fit to be published.
    """
    path = folder / file.name
    what = f"{file.name} in {str(folder)!r}"
    if not path.is_file() or path.is_symlink():
        raise InputError(f"{what} is missing or a link; make the folder anew.")
    if file.sha256 is None:
        raise InputError(f"{what} has no sha256 in the manifest; make the folder anew without --no-hash.")
    if file.name != CARD_FILE and (path.stat().st_size != file.size or sha256_file(path) != file.sha256):
        raise InputError(f"{what} has changed since it was made; make the folder anew, or undo the change.")
    with path.open("rb") as opened:
        # Safetensors begin with a length, which may look like anything.
        start = b"" if path.suffix == ".safetensors" and _is_safetensors(path) else opened.read(4)
    if _matches(path.name, _PICKLES) or start.startswith(_PICKLE_STARTS):
        raise InputError(f"{what} is a pickle or an archive; such files are never published.")
    if holds_token(path, token):
        raise InputError(f"{what} holds a token of the Hub; remove it, and revoke the token.")


def _is_safetensors(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


def holds_token(path: Path, token: bytes = b"") -> bool:
    """Tells whether a file holds the given token, or (weights apart) anything that looks like one."""
    overlap = 256
    previous = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            window = previous + chunk
            if (token and token in window) or (path.suffix != ".safetensors" and _TOKEN.search(window)):
                return True
            previous = window[-overlap:]
    return False
