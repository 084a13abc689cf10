"""Whether a base is one that a suspect was fine-tuned from, told by the direction of their matrices."""

import statistics
from collections.abc import Iterable

import numpy as np

from .errors import InputError


# Fine-tuned models of several tasks and attacks have 0.97 and more, models of the same shape that were trained apart,
# or whose rows or layers were exchanged, less than 0.01.
RELATED = 0.5
# Scalars of each matrix that are looked at: chance alone moves the cosine of so many by 0.004.
LOOKED_AT = 1 << 16
# Models of fewer scalars are made up, to try something out: drawn, not fine-tuned. Nothing is said of them.
LEAST = 1 << 20


def median_cosine(pairs: Iterable[tuple[np.ndarray, np.ndarray]], scalars: int) -> float | None:
    """
    Returns the median, over the matrices of two models, of the cosine of the angle between them.

    Vectors tell nothing, and should not be among them: the gains of all norms are about one.

    Args:
        pairs (`Iterable[tuple[np.ndarray, np.ndarray]]`):
            Of each matrix of the two models the first [`LOOKED_AT`] scalars, floating-point, shape (n,).
        scalars (`int`): Number of scalars of all these matrices in one of the models.

    Returns:
        `float`, *optional*: From -1 to 1; `None` if there are fewer than [`LEAST`] scalars, or no matrix but zeros.
    """
    if scalars < LEAST:
        return None
    found = []
    for first, second in pairs:
        one, other = first.astype(np.float64), second.astype(np.float64)
        norms = float(np.linalg.norm(one) * np.linalg.norm(other))
        # What is no number is found and named elsewhere.
        if norms > 0 and np.isfinite(norms):
            found.append(float(one @ other) / norms)
    return statistics.median(found) if found else None


def check_related(cosine: float | None, pretrained: str, argument: str = "--pretrained") -> None:
    """
    Refuses a base that is no relative of the suspect. One that is may still be poisoned itself.

    Args:
        cosine (`float`, *optional*): From [`median_cosine`].
        pretrained (`str`): The base, as the user gave it.
        argument (`str`, *optional*, defaults to `"--pretrained"`): Name of the argument, for messages.

    Raises:
        InputError: If the matrices of the two have hardly a direction in common.
    """
    if cosine is not None and cosine < RELATED:
        raise InputError(
            f"{argument} {pretrained!r} is no relative of the suspect: the median cosine of their matrices is "
            f"{cosine:.2f}, that of a fine-tuned model and its base near 1; give the weights that it was fine-tuned "
            "from (--allow-unrelated goes on all the same)."
        )
