"""Purified folders for the tests of publication and verification, and what a liar would change in them."""

import json
import shutil

from transformers import BertConfig, BertForSequenceClassification

from hf_finemix import FineMixConfig, purify
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.hashes import describe_files
from hf_finemix.manifest import load_manifest
from hf_finemix.results import Recipe

from .files import SHORT, Workplace, make_workplace
from .models import make


TOKEN = "hf_" + "A1b2C3d4" * 4 + "Zz"
EVIDENCE = {"README.md", "finemix_report.json", "finemix_manifest.json"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}
PAGE = {"finemix_report.html"}
FILES = {"config.json", "model.safetensors"} | TOKENIZER | EVIDENCE | PAGE
STOCK_CARD = b"---\nlicense: apache-2.0\nlanguage: en\ntags:\n- mine\n---\n# Old model\n\nHow it was trained.\n"


def make_tiny_place(root, tokenizer):
    """A workplace whose models have one layer."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)
    return make_workplace(root, make(BertForSequenceClassification, config), tokenizer)


def copy_place(place, target):
    """A copy of a workplace, to spoil."""
    root = shutil.copytree(place.root, target)
    return Workplace(root, root / "suspect", root / "base", root / "clean.csv")


def make_purified(root, tokenizer):
    """Runs a tiny purification; gives its output folder."""
    place = make_tiny_place(root, tokenizer)
    purify(
        place.suspect,
        place.base,
        place.clean,
        output=place.output,
        config=FineMixConfig(purify_top_k=3),
        recipe=Recipe(1, 1e-4, 8, 32, "vocabulary", 0),
        distillation=SHORT,
        evaluation_dataset=place.clean,
        triggers=[Trigger("cf", 1, "start", 0)],
    )
    return place.output


def read(folder):
    """Gives all files of a folder, with their bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_line(error):
    return str(error.value).strip() and "\n" not in str(error.value)


def edit(place, **values):
    """Changes fields of the manifest."""
    path = place.output / "finemix_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_report(place, **values):
    """Changes fields of the report, and its entry in the manifest."""
    path = place.output / "finemix_report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    refit(place)


def refit(place, *more, **values):
    """Changes fields of the manifest, and makes its list of outputs fit the files that are there."""
    names = {file.name for file in load_manifest(place.output).outputs} | set(more)
    edit(place, outputs=[file.to_dict() for file in describe_files(place.output, names)], **values)
