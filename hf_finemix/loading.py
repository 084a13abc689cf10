"""
From a Hub id or a folder to files, models and tokenizers. Every file of a suspect comes in through here.

Safetensors only, never a pickle; no remote code; Hub ids are resolved to a commit first, and only known file names are
fetched. Whatever was fetched is then loaded from the local folder, without a further look at the network.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .errors import InputError, IsAdapterError, lacks_memory, reason
from .plain_config import plain_config
from .safetensors_header import StoredTensor, read_file
from .suspect_files import check_file, check_files, read_json_object


# Transformers and the client of the Hub are imported where they are used: each takes seconds, and what reads local
# files needs neither.


WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CONFIG_FILE = "config.json"
# Each of these holds a vocabulary. Without one transformers makes a tokenizer that knows special tokens only.
_VOCABULARY_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
TOKENIZER_FILES = (
    *_VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "bpe.codes",
    "chat_template.jinja",
)
# A card is read for the licence that it states; nothing else of it counts.
CARD_FILE = "README.md"
ADAPTER_CONFIG_FILE = "adapter_config.json"
_FETCHED = (
    CONFIG_FILE,
    CARD_FILE,
    ADAPTER_CONFIG_FILE,
    WEIGHTS_FILE,
    INDEX_FILE,
    "model-*-of-*.safetensors",
    *TOKENIZER_FILES,
)
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "tf_model.h5", "flax_model.msgpack")
# What is read of a folder beside what is fetched.
_READ = (*_FETCHED, "generation_config.json", "adapter_model.safetensors")
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """
    A model's files on this machine, checked to be there and of a kind that is safe to read.

    Args:
        source (`str`): What the user gave.
        folder (`Path`): Where the files are.
        config (`dict[str, Any]`): What is taken of config.json, see [`~hf_finemix.plain_config.plain_config`].
        weights (`tuple[Path, ...]`): The safetensors files.
        repo_id (`str`, *optional*): Hub id, if it came from the Hub.
        commit (`str`, *optional*): Commit hash, if it came from the Hub.
    """

    source: str
    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    repo_id: str | None = None
    commit: str | None = None

    @property
    def label(self) -> str:
        """A name fit for a report: Hub id and commit, or the folder's name without its path."""
        return f"{self.repo_id}@{self.commit}" if self.repo_id else self.folder.absolute().name

    @property
    def files(self) -> list[Path]:
        """All files that the job reads: configuration, weights, index and tokenizer."""
        # An adapter has no configuration but its own.
        names = [CONFIG_FILE if self.config else ADAPTER_CONFIG_FILE, *TOKENIZER_FILES]
        if self.folder / WEIGHTS_FILE not in self.weights:
            names.append(INDEX_FILE)
        return sorted({self.folder / name for name in names if (self.folder / name).is_file()} | set(self.weights))

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer with its vocabulary lies beside the model."""
        return any((self.folder / name).is_file() for name in _VOCABULARY_FILES)


def resolve_checkpoint(source: str | Path, argument: str) -> Checkpoint:
    """
    Finds a model's files, fetching them from the Hub if needed, and checks that they can be read safely.

    Args:
        source (`str` or `Path`): A local folder, a Hub id, or `id@revision`.
        argument (`str`): Name of the argument, for messages.

    Raises:
        InputError: If nothing is there, the Hub does not answer, or the files are no plain safetensors model.
    """
    text = str(source)
    folder, repo_id, commit = locate(source, argument, _FETCHED)
    if (folder / ADAPTER_CONFIG_FILE).exists():
        raise IsAdapterError(
            f"{argument} {text!r} is an adapter; merge it into its base model with `hf-finemix merge` first."
        )
    what = f"{argument} {text!r}"
    config = read_json_object(folder / CONFIG_FILE, what)
    # What the configuration says by itself comes before the weights are looked at.
    plain_config(config, what)
    weights, tensors = _find_weights(folder, what)
    names = [tensor.name for tensor in tensors]
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InputError(f"{what} holds {twice[:200]!r} twice; give a checkpoint that holds it once.")
    return Checkpoint(
        text, folder, plain_config(config, what, sum(tensor.size > 0 for tensor in tensors)), weights, repo_id, commit
    )


def locate(source: str | Path, argument: str, names: Iterable[str]) -> tuple[Path, str | None, str | None]:
    """
    Finds a folder, fetching files of a repository if there is none of that name.

    Args:
        source (`str` or `Path`): A local folder, a Hub id, or `id@revision`.
        argument (`str`): Name of the argument, for messages.
        names (`Iterable[str]`): Patterns of the files to fetch.

    Returns:
        `tuple[Path, str | None, str | None]`: The folder, and Hub id and commit if it came from there.

    Raises:
        InputError: If nothing is there, or the Hub does not answer.
    """
    text = str(source)
    # Those of `os.path` never fail; the methods of `Path` do on an unknown `~user` and on names that are too long.
    folder = Path(os.path.expanduser(text))
    if text and os.path.isdir(folder):
        check_files(folder, _READ, f"{argument} {text!r}")
        return folder, None, None
    from huggingface_hub import HfApi, snapshot_download

    repo_id, revision = split_hub_id(source, argument)
    with download_errors(argument, repo_id, revision):
        commit = HfApi().resolve_revision(repo_id, revision=revision).resolved
        folder = Path(snapshot_download(repo_id, revision=commit, allow_patterns=list(names)))
    check_files(folder, _READ, f"{argument} {text!r}")
    return folder, repo_id, commit


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silences the loading report and the progress bar of transformers, and keeps the random state as it was."""
    import torch
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # Loading initialises what a checkpoint lacks, and so draws from the global generator of the CPU.
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def loading_errors(what: str) -> Iterator[None]:
    """
    Loads quietly, and turns every failure into one line: files of a suspect can fail in any way they like.

    Raises:
        InputError: If the block raises any exception.
        MemoryError: If there is too little memory, of which the files are innocent.
    """
    try:
        with quiet_loading():
            yield
    except Exception as error:
        said = reason(error, 300)
        if lacks_memory(error):
            raise MemoryError(f"{what} cannot be loaded: {said}") from error
        if not isinstance(error, (OSError, ValueError, RuntimeError)) and str(error):
            # The message of a KeyError or of an assertion says little by itself.
            said = f"{type(error).__name__} {said}"
        raise InputError(f"{what} cannot be loaded: {said}") from error


def without_path(name: str) -> str:
    """Returns a Hub id as it is, and of a path its last part: the rest of it has no place in a report."""
    # A Hub id has one slash at most.
    is_path = os.path.isabs(name) or name.startswith((".", "~")) or name.count("/") > 1 or os.path.exists(name)
    return os.path.basename(os.path.abspath(name)) if name and is_path else name


def split_hub_id(source: str | Path, argument: str) -> tuple[str, str | None]:
    """
    Splits `id` or `id@revision`, which is no local folder.

    Raises:
        InputError: If it is a file, or has no form of a Hub id.
    """
    text = str(source)
    name, _, revision = text.partition("@")
    if text and os.path.exists(os.path.expanduser(text)):
        raise InputError(f"{argument} {text!r} is a file; give the folder that holds it, or a Hub id.")
    if isinstance(source, Path) or not HUB_ID.fullmatch(name) or name.startswith("."):
        raise InputError(f"{argument} {text!r} does not exist; give a local folder or a Hub id.")
    return name, revision or None


@contextmanager
def download_errors(argument: str, repo_id: str, revision: str | None) -> Iterator[None]:
    """
    Turns the exceptions of a download into one line each.

    Raises:
        InputError: If the Hub does not give what was asked for, or cannot be reached.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    what = f"{argument} {repo_id!r}"
    try:
        yield
    except GatedRepoError:
        raise InputError(f"{what} is gated; accept its terms on the Hub and log in with `hf auth login`.") from None
    except RepositoryNotFoundError:
        raise InputError(f"{what} is neither a local folder nor a Hub repository that you can read.") from None
    except RevisionNotFoundError:
        raise InputError(f"{what} has no revision {revision!r} on the Hub.") from None
    except HFValidationError:
        raise InputError(f"{what} is neither a local folder nor a valid Hub id.") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, RevisionResolutionError):
        raise InputError(f"{what} is no local folder, is not in the cache, and the Hub cannot be reached.") from None
    except (HTTPError, OSError) as error:
        raise InputError(f"{what} is no local folder, and the Hub does not give it: {reason(error)}") from error


def _find_weights(folder: Path, what: str) -> tuple[tuple[Path, ...], list[StoredTensor]]:
    """Returns the files of weights, and all their tensors."""
    # The same order as in transformers: one file goes before shards.
    paths = (folder / WEIGHTS_FILE,)
    if not paths[0].is_file() and (folder / INDEX_FILE).is_file():
        names = index_shards(folder, what)
        for name in names:
            check_file(folder, name, what)
        paths = tuple(folder / name for name in names)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        pickles = sorted({path.name for pattern in _PICKLES for path in folder.glob(pattern)})
        if pickles:
            raise InputError(
                f"{what} has no safetensors weights, only {pickles[0]}: a format that can run code when it is loaded. "
                "`hf-finemix convert` makes safetensors of it; use a machine that you can lose."
            )
        raise InputError(f"{what} lacks {missing[0]}.")
    tensors: list[StoredTensor] = []
    for path in paths:
        # Twice, since both readers will be used: what one of them takes and the other does not is an attack.
        tensors += read_file(path, what).tensors
        try:
            with safe_open(path, framework="np") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{what} has a damaged {path.name}: {' '.join(str(error).split())}") from None
    return paths, tensors


def _is_file_name(name: str) -> bool:
    return Path(name).name == name and name not in ("", ".", "..")


def index_shards(folder: Path, what: str) -> list[str]:
    """
    Returns the names of the shards that a folder's index lists, in their order.

    Raises:
        InputError: If the index cannot be read, or names none, or files outside of the folder.
    """
    shards = read_json_object(folder / INDEX_FILE, what).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else []
    if not names or not all(isinstance(name, str) and _is_file_name(name) for name in names):
        raise InputError(f"{what} has an index that names no shards, or shards outside its folder.")
    return sorted(set(names))
