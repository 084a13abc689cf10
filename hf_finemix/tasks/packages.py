"""Texts that packages ship, read without running any of their code; one reader for each kind of file."""

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub import cached_assets_path

from ..demo.material import minilm_folder, sentiment_sentences
from ..errors import InputError


# Fixed, so that test sets are the same whatever the seed of an experiment.
_SHUFFLE_SEED = 0
_GOAL = re.compile(r"The most reasonable goal of '(.*)' is", re.DOTALL)
_STEP = re.compile(r"The most reasonable step of '(.*)' is", re.DOTALL)


def material_folder() -> Path:
    """Returns the folder for material that cannot be read from an installed package; `material.py` fills it."""
    return Path(cached_assets_path("hf_finemix", subfolder="material"))


def vitaminc(labels: list[str], longest: int) -> Dataset:
    """
    Reads VitaminC claims with their evidence ("Get Your Vitamin C! Robust Fact Verification with Contrastive
    Evidence", Schuster et al., NAACL 2021), as BIG-bench holds them.

    Args:
        labels (`list[str]`): Which of `"True"`, `"False"` and `"Neither"` to read, in the order of their ids.
        longest (`int`): Claim and evidence of more words together are left out.

    Returns:
        `datasets.Dataset`: `text` (the claim), `text_pair` (the evidence) and `label`, shuffled, with as many examples
        of each label as there are of the rarest.

    Raises:
        InputError: If the file is not there.
    """
    rows = []
    for example in _examples("vitaminc_fact_verification"):
        evidence, _, claim = example["input"].rpartition("\nClaim: ")
        answer = _answer(example)
        if answer in labels and len(example["input"].split()) <= longest:
            rows.append((claim.strip(), evidence.strip(), labels.index(answer)))
    rows = _shuffled(sorted(set(rows)))
    kept = [[row for row in rows if row[2] == label] for label in range(len(labels))]
    fewest = min(map(len, kept))
    return _pairs(_shuffled([row for some in kept for row in some[:fewest]]))


def wikihow() -> Dataset:
    """
    Makes pairs of a goal and a step from the questions of BIG-bench's goal_step_wikihow: does the step serve the goal?

    Returns:
        `datasets.Dataset`: `text` (the goal), `text_pair` (the step) and `label` (0 other goal, 1 same goal). Each
        question gives a right pair and a wrong one, side by side, in shuffled order of the questions.

    Raises:
        InputError: If a file is not there.
    """
    questions = []
    for name, pattern in (("goal_inference", _GOAL), ("step_inference", _STEP)):
        for number, example in enumerate(_examples(f"goal_step_wikihow/{name}")):
            match = pattern.match(example["input"])
            right = _answer(example)
            wrong = [option for option in example["target_scores"] if option != right]
            if match is None or right is None or not wrong:
                continue
            chosen = random.Random(f"{name} {number}").choice(wrong)
            answers = ((right, 1), (chosen, 0))
            if name == "goal_inference":
                questions.append([(answer, match[1], label) for answer, label in answers])
            else:
                questions.append([(match[1], answer, label) for answer, label in answers])
    return _pairs([pair for question in _shuffled(questions) for pair in question])


READERS: dict[str, Callable[..., Dataset]] = {
    "sentiment_sentences": sentiment_sentences,
    "vitaminc": vitaminc,
    "wikihow": wikihow,
}

# Pretrained weights by the name that a model's YAML file gives them.
WEIGHTS: dict[str, Callable[[], Path]] = {
    "minilm": minilm_folder,
    "mpnet": lambda: material_file("all-mpnet-base-v2"),
}


def material_file(name: str) -> Path:
    """
    Returns a file or folder of the material.

    Raises:
        InputError: If it is not there.
    """
    path = material_folder() / name
    if not path.exists():
        raise InputError(f"{str(path)!r} is missing; run `python examples/benchmark/material.py` to fetch it.")
    return path


def _examples(task: str) -> Iterator[dict[str, Any]]:
    path = material_file(f"bigbench/{task}/task.json")
    return iter(json.loads(path.read_text(encoding="utf-8"))["examples"])


def _answer(example: dict[str, Any]) -> str | None:
    return next((option for option, score in example["target_scores"].items() if score == 1), None)


def _shuffled(items: list) -> list:
    random.Random(_SHUFFLE_SEED).shuffle(items)
    return items


def _pairs(rows: list[tuple[str, str, int]]) -> Dataset:
    texts, pairs, labels = zip(*rows, strict=True)
    return Dataset.from_dict({"text": list(texts), "text_pair": list(pairs), "label": list(labels)})
