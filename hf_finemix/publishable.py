"""Which files may be published, and which files of a folder count when a model is loaded from it."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from .errors import InputError
from .hashes import FileRecord, sha256_file
from .loading import CARD_FILE, CONFIG_FILE, INDEX_FILE, TOKENIZER_FILES, WEIGHTS_FILE
from .manifest import MANIFEST_FILE, Manifest


GENERATION_FILE = "generation_config.json"

# Everything that transformers may read from a folder, pickles and code included.
_LOADED = (
    CONFIG_FILE,
    GENERATION_FILE,
    INDEX_FILE,
    *TOKENIZER_FILES,
    "*.safetensors",
    "adapter_config.json",
    "chat_template.json",
    "processor_config.json",
    "*preprocessor_config.json",
    "pytorch_model*.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "additional_chat_templates/*",
    "*.py",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.joblib", "*.dill", "*.npy", "*.npz")
# First bytes of a pickle of protocol 2 and later, and of a zip archive, which torch puts its pickles into.
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6)) + (b"PK\x03\x04",)
_TOKEN = re.compile(rb"(?:hf_|hf_oauth_|api_org_)[A-Za-z0-9]{30,}")
_CHUNK = 1 << 22


def is_loaded(name: str) -> bool:
    """Tells whether transformers may read a file of this name (a path below the model's folder)."""
    return any(fnmatchcase(name, pattern) for pattern in (*_LOADED, *_PICKLES) if "/" in pattern or "/" not in name)


def check_files(folder: Path, manifest: Manifest, token: str) -> None:
    """
    Checks that a folder is fit to be published: whole, unchanged since it was made, no pickle, no token.

    The card may have been changed: its owner's parts are kept, ours is rendered again.

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
    if file.name != CARD_FILE and (path.stat().st_size != file.size or sha256_file(path) != file.sha256):
        raise InputError(f"{what} has changed since it was made; make the folder anew, or undo the change.")
    with path.open("rb") as opened:
        start = opened.read(4)
    is_pickle = any(fnmatchcase(path.name, pattern) for pattern in _PICKLES)
    if is_pickle or start.startswith(_PICKLE_STARTS):
        raise InputError(f"{what} is a pickle or an archive; such files are never published.")
    if holds_token(path, token):
        raise InputError(f"{what} holds a token of the Hub; remove it, and revoke the token.")


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
