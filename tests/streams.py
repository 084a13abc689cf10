"""Pairs of checkpoints on disk, mixed from disk to disk and in memory, for the tests of `mix`."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hf_finemix import FineMixConfig, fine_mix_, mix_checkpoints

from .models import make_pair


CONFIG = FineMixConfig(keep_ratio=0.3, seed=7, purify_top_k=0)
WEIGHTS = "model.safetensors"


def save_pair(folder: Path, name: str = "bert", dtypes=(torch.float32, torch.float32), **options):
    """Saves a suspect and its bare base, all of whose scalars differ; gives the folder."""
    model, base = (each.to(dtype) for each, dtype in zip(make_pair(name), dtypes, strict=True))
    model.save_pretrained(folder / "suspect", **options)
    base.save_pretrained(folder / "base", **options)
    return folder


def change(folder: Path, function) -> None:
    """Rewrites the weights of a checkpoint."""
    path = folder / WEIGHTS
    save_file(function(load_file(path)), path, metadata={"format": "pt"})


def mix(folder: Path, name: str = "out", config: FineMixConfig = CONFIG, **options) -> Path:
    """Mixes a saved pair from disk to disk; gives the output."""
    mix_checkpoints(folder / "suspect", folder / "base", folder / name, config, **options)
    return folder / name


def mix_in_memory(folder: Path, model_class, config: FineMixConfig = CONFIG, dtype="auto", **options) -> Path:
    """Loads a saved pair, mixes it in memory and saves it; gives the output."""
    model = model_class.from_pretrained(folder / "suspect", dtype=dtype)
    fine_mix_(model, folder / "base", config)
    target = folder / "memory"
    shutil.rmtree(target, ignore_errors=True)
    model.save_pretrained(target, **options)
    return target


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, in however many files."""
    return {name: value for path in sorted(folder.glob("*.safetensors")) for name, value in load_file(path).items()}


def leftovers(folder: Path) -> set[str]:
    """What is in the folder beside the pair that was saved there."""
    return {path.name for path in folder.iterdir()} - {"suspect", "base"}


def edit_header(path: Path, function) -> None:
    """Rewrites the header of a safetensors file, whose data stay as they are."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = function(header)
    text = (text if isinstance(text, str) else json.dumps(header)).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
