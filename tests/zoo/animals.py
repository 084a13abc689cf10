"""How a hostile model is described, and what each one begins with: a plain small model, its base and clean data."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


REFUSED, HANDLED = "refused", "handled"
# The commands that an animal is shown to, unless it names others; {} is its folder.
MODEL = (
    ("purify", "{suspect}", "--pretrained={base}", "--clean-data={clean}", "--dry-run"),
    ("scan", "{suspect}", "--pretrained={base}"),
    ("mix", "{suspect}", "--pretrained={base}", "--keep-ratio=0.3", "--output={out}"),
)
EVALUATE = (("evaluate", "{suspect}", "--data={clean}"),)
ADAPTER = (("merge", "{suspect}", "--pretrained={base}", "--output={out}"),)


class Payload:
    """Makes a folder as soon as somebody unpickles it."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@dataclass(frozen=True)
class Cage:
    """
    Where an animal lives.

    Args:
        root (`Path`): Everything of it.
        suspect (`Path`): The folder of a sequence classifier, to be spoilt.
        base (`Path`): Its base.
        clean (`Path`): Clean examples.
    """

    root: Path
    suspect: Path
    base: Path
    clean: Path

    @property
    def marker(self) -> Path:
        """What code of the suspect would make."""
        return self.root / "ran"

    @property
    def secret(self) -> Path:
        """A file of the user's, outside the suspect's folder."""
        return self.root / "secret.json"

    @property
    def weights(self) -> Path:
        """The suspect's file of weights."""
        return self.suspect / "model.safetensors"

    def path(self, name: str) -> Path:
        """Returns a file of the suspect."""
        return self.suspect / name

    def change(self, name: str = "config.json", **values: Any) -> None:
        """Changes entries of a JSON file."""
        path = self.path(name)
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    def payload(self) -> bytes:
        """Returns a pickle that runs code."""
        return pickle.dumps(Payload(self.marker))

    def adapter(self, **changes: Any) -> None:
        """Replaces the suspect by an adapter whose configuration is a plain one, changed."""
        settings = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 4, "lora_alpha": 8, "target_modules": ["query"]}
        self.path("adapter_config.json").write_text(json.dumps(settings | changes))
        name = "base_model.model.bert.encoder.layer.0.attention.self.query"
        parts = {f"{name}.lora_A.weight": torch.zeros(4, 16), f"{name}.lora_B.weight": torch.zeros(16, 4)}
        head = {"classifier.weight": torch.zeros(2, 16), "classifier.bias": torch.zeros(2)}
        parts |= {f"base_model.model.{key}": value for key, value in head.items()}
        save_file(parts, self.path("adapter_model.safetensors"))

    def number_labels(self) -> None:
        """Gives the clean examples ids instead of names of labels."""
        text = self.clean.read_text()
        self.clean.write_text(text.replace(",positive", ",1").replace(",negative", ",0"))

    def code(self, name: str = "evil.py") -> None:
        """Puts a module there that runs code when it is imported."""
        text = f"import os\nos.mkdir({str(self.marker)!r})\nclass Evil:\n    pass\n"
        self.path(name).write_text(text)

    def index(self, shards: dict[str, Any]) -> None:
        """Replaces the weights by an index of shards."""
        self.weights.unlink(missing_ok=True)
        self.path("model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Returns the suspect's weights."""
        return load_file(self.weights)

    def save(self, tensors: dict[str, torch.Tensor]) -> None:
        """Writes the suspect's weights."""
        save_file(tensors, self.weights, metadata={"format": "pt"})

    def spoil(self, name: str, change: Callable[[torch.Tensor], Any]) -> None:
        """Changes one tensor in place, the first whose name ends so."""
        tensors = self.tensors()
        change(tensors[next(key for key in sorted(tensors) if key.endswith(name))])
        self.save(tensors)

    def header(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Rewrites the header of the weights, and leaves their bytes."""
        content = self.weights.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        found = change(header)
        text = found if isinstance(found, bytes) else json.dumps(header).encode()
        self.weights.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@dataclass(frozen=True)
class Animal:
    """
    A hostile model.

    Args:
        name (`str`): Its name.
        kind (`str`): What it tries.
        says (`str`): What it does, in a phrase.
        spoil (`Callable`): Makes a plain suspect into it.
        fate (`str`): `"refused"`, or `"handled"` if the job can be done all the same.
        words (`str`): What the message says, or the output must not hold.
        commands (`tuple`): The commands that it is shown to.
    """

    name: str
    kind: str
    says: str
    spoil: Callable[[Cage], None]
    fate: str
    words: str
    commands: tuple[tuple[str, ...], ...]


ANIMALS: dict[str, Animal] = {}


def animal(kind: str, fate: str, words: str = "", commands: tuple[tuple[str, ...], ...] = MODEL) -> Callable:
    """Registers a function that spoils a suspect; its docstring says what it does."""

    def register(function: Callable[[Cage], None]) -> Callable[[Cage], None]:
        name = function.__name__.replace("_", " ")
        assert name not in ANIMALS, name
        ANIMALS[name] = Animal(name, kind, function.__doc__.strip(), function, fate, words, commands)
        return function

    return register
