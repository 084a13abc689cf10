"""The command `verify` on a workplace, and its answer line by line."""

import json
from dataclasses import dataclass

import torch
from safetensors.torch import load_file, save_file

from hf_finemix import FineMixConfig, purify
from hf_finemix.results import Recipe

from ..files import SHORT, run


RECIPE = Recipe(epochs=1, learning_rate=1e-4, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
CONFIG = FineMixConfig(purify_top_k=5)
INPUTS = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
OUTPUTS = ("README.md", "finemix_report.html", "finemix_report.json", *INPUTS)
TENSORS = 23


@dataclass
class Answer:
    """What the command answered: exit status, JSON object and standard error."""

    status: int
    found: dict
    error: str

    def items(self, status, part=None):
        """Items of the lines of a status, by part where none is given."""
        checks = [check for check in self.found["checks"] if check["status"] == status]
        if part is None:
            return {(check["part"], check["item"]) for check in checks}
        return {check["item"] for check in checks if check["part"] == part}

    def note(self, part, item):
        """The note of a line."""
        return {(check["part"], check["item"]): check["note"] for check in self.found["checks"]}[part, item]


def verify(capsys, place, *more, inputs=True):
    """Verifies the output of a workplace, with its inputs by folder."""
    sources = ["--suspect", place.suspect, "--pretrained", place.base] if inputs else []
    capsys.readouterr()
    status, out, err = run(capsys, ["verify", place.output, "--json", *sources, *more])
    # One JSON object or one line of what is wrong.
    assert (bool(out), err.count("\n")) in ((True, 0), (False, 1)) and "Traceback" not in err, err
    return Answer(status, json.loads(out) if out else {"checks": []}, err)


def fill(place, name, value):
    """Puts a value into all of a tensor of the output."""
    path = place.output / "model.safetensors"
    stored = load_file(path)
    save_file(stored | {name: torch.full_like(stored[name], value)}, path, {"format": "pt"})


def purify_place(place, config=CONFIG):
    options = {"config": config, "recipe": RECIPE, "distillation": SHORT}
    purify(place.suspect, place.base, place.clean, output=place.output, **options)
