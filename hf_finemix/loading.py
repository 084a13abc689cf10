"""
From a Hub id or a folder to files, models and tokenizers. Every file of a suspect comes in through here.

Safetensors only, never a pickle; no remote code; Hub ids are resolved to a commit first, and only known file names are
fetched. Whatever was fetched is then loaded from the local folder, without a further look at the network.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from .errors import InputError


WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "chat_template.jinja",
)
_FETCHED = ("config.json", WEIGHTS_FILE, INDEX_FILE, "model-*-of-*.safetensors", *TOKENIZER_FILES)
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "tf_model.h5", "flax_model.msgpack")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Checkpoint:
    """
    A model's files on this machine, checked to be there and of a kind that is safe to read.

    Args:
        source (`str`): What the user gave.
        folder (`Path`): Where the files are.
        config (`dict[str, Any]`): The content of config.json.
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
        names = ("config.json", INDEX_FILE, *TOKENIZER_FILES)
        return sorted({self.folder / name for name in names if (self.folder / name).is_file()} | set(self.weights))


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
    folder = Path(text).expanduser()
    repo_id = commit = None
    if not folder.is_dir():
        name, _, revision = text.partition("@")
        if folder.exists():
            raise InputError(f"{argument} {text!r} is a file; give the folder that holds it, or a Hub id.")
        if isinstance(source, Path) or not _HUB_ID.fullmatch(name) or name.startswith("."):
            raise InputError(f"{argument} {text!r} does not exist; give a local folder or a Hub id.")
        repo_id = name
        folder, commit = _download(name, revision or None, argument)
    config = _read_json(folder / "config.json", f"{argument} {text!r}")
    if (folder / "adapter_config.json").exists():
        raise InputError(f"{argument} {text!r} is an adapter; merge it into its base model first.")
    if config.get("quantization_config") is not None:
        raise InputError(f"{argument} {text!r} is quantised; give the unquantised checkpoint.")
    weights = _find_weights(folder, f"{argument} {text!r}")
    return Checkpoint(text, folder, config, weights, repo_id, commit)


def load_classifier(checkpoint: Checkpoint, argument: str) -> PreTrainedModel:
    """
    Loads a sequence classifier in the dtype it was saved in, on the CPU.

    Raises:
        InputError: If the checkpoint is another kind of model, or some of its weights are missing.
    """
    architecture = (checkpoint.config.get("architectures") or ["unknown"])[0]
    if "ForSequenceClassification" not in str(architecture):
        raise InputError(
            f"{argument} {checkpoint.source!r} is a {architecture}, but must be a sequence classifier "
            "(an architecture named ...ForSequenceClassification)."
        )
    with _one_line(f"{argument} {checkpoint.source!r}"):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.folder, use_safetensors=True, trust_remote_code=False, dtype="auto", output_loading_info=True
        )
    absent = sorted(info["missing_keys"]) + sorted(key[0] for key in info["mismatched_keys"])
    if absent:
        raise InputError(f"{argument} {checkpoint.source!r} lacks weights, among them {absent[0]}.")
    return model.eval()


def load_tokenizer(checkpoint: Checkpoint, argument: str) -> PreTrainedTokenizerBase:
    """
    Loads the tokenizer that lies beside a model.

    Raises:
        InputError: If there is none, or it cannot be read.
    """
    if not any((checkpoint.folder / name).is_file() for name in TOKENIZER_FILES):
        raise InputError(f"{argument} {checkpoint.source!r} has no tokenizer files; copy them from its base model.")
    with _one_line(f"{argument} {checkpoint.source!r}"):
        return AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silences the loading report and the progress bar of transformers, and keeps the random state as it was."""
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
def _one_line(what: str) -> Iterator[None]:
    try:
        with quiet_loading():
            yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, ImportError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{what} cannot be loaded: {reason[:300]}") from error


def _download(repo_id: str, revision: str | None, argument: str) -> tuple[Path, str]:
    what = f"{argument} {repo_id!r}"
    try:
        commit = str(HfApi().resolve_revision(repo_id, revision=revision))
        return Path(snapshot_download(repo_id, revision=commit, allow_patterns=list(_FETCHED))), commit
    except GatedRepoError:
        raise InputError(f"{what} is gated; accept its terms on the Hub and log in with `hf auth login`.") from None
    except RepositoryNotFoundError:
        raise InputError(f"{what} is neither a local folder nor a Hub repository that you can read.") from None
    except RevisionNotFoundError:
        raise InputError(f"{what} has no revision {revision!r} on the Hub.") from None
    except HFValidationError:
        raise InputError(f"{what} is neither a local folder nor a valid Hub id.") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise InputError(f"{what} is no local folder, is not in the cache, and the Hub cannot be reached.") from None
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{what} is no local folder, and the Hub does not give it: {reason}") from error


def _find_weights(folder: Path, what: str) -> tuple[Path, ...]:
    if (folder / INDEX_FILE).is_file():
        shards = _read_json(folder / INDEX_FILE, what).get("weight_map", {})
        names = sorted(set(shards.values())) if isinstance(shards, dict) else []
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise InputError(f"{what} has an index that names no shards, or shards outside its folder.")
        paths = tuple(folder / name for name in names)
    else:
        paths = (folder / WEIGHTS_FILE,)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        pickles = sorted({path.name for pattern in _PICKLES for path in folder.glob(pattern)})
        if pickles:
            raise InputError(
                f"{what} has no safetensors weights, only {pickles[0]}: a format that can run code when it is loaded. "
                "Convert it to safetensors on a machine that you can lose."
            )
        raise InputError(f"{what} lacks {missing[0]}.")
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{what} has a damaged {path.name}: {' '.join(str(error).split())}") from None
    return paths


def _read_json(path: Path, what: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{what} has no {path.name}; give the folder of a model, or a Hub id.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        raise InputError(f"{what} has a {path.name} that is no readable JSON.") from None
    if not isinstance(content, dict):
        raise InputError(f"{what} has a {path.name} that is no JSON object.")
    return content
