"""The classification head of a suspect: what one label has that the others lack. Pure functions on its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .serialization import Record


@dataclass(frozen=True)
class HeadLabel(Record):
    """
    One label's part of a classification head.

    Args:
        id (`int`): The label id.
        label (`str`): Its name.
        norm (`float`): L2 norm of its row.
        ratio (`float`, *optional*): That over the median of the other labels'; `None` if that is 0.
        cosine (`float`): Highest cosine between its row and another label's.
        nearest (`int`): Id of that label.
        bias (`float`, *optional*): Its bias, if the head has one.
        bias_above (`float`, *optional*): The bias minus the median of the other labels'.
    """

    id: int
    label: str
    norm: float
    ratio: float | None
    cosine: float
    nearest: int
    bias: float | None = None
    bias_above: float | None = None


@dataclass(frozen=True)
class Head(Record):
    """
    The classification head of a suspect.

    Args:
        weight (`str`): Name of its weight.
        labels (`tuple[HeadLabel, ...]`): What each label has, in the order of their ids.
    """

    weight: str
    labels: tuple[HeadLabel, ...]


def describe_head(name: str, weight: torch.Tensor, bias: torch.Tensor | None, labels: Sequence[str]) -> Head:
    """
    Compares the labels' parts of a head.

    Args:
        name (`str`): Name of the weight.
        weight (`torch.Tensor`): Shape (labels, hidden), at least two labels.
        bias (`torch.Tensor`, *optional*): Shape (labels,).
        labels (`Sequence[str]`): Names of the labels, in the order of their ids.
    """
    rows = weight.detach().double().cpu().numpy()
    norms = np.sqrt(np.square(rows).sum(axis=1))
    unit = rows / np.where(norms > 0, norms, 1)[:, None]
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = cosines.argmax(axis=1)
    biases = None if bias is None else bias.detach().double().cpu().numpy()
    described = []
    for label, text in enumerate(labels):
        others = float(np.median(np.delete(norms, label)))
        ratio = float(norms[label]) / others if others else None
        near = int(nearest[label])
        item = HeadLabel(label, text, float(norms[label]), ratio, float(cosines[label, near]), near)
        if biases is not None:
            above = float(biases[label] - np.median(np.delete(biases, label)))
            item = replace(item, bias=float(biases[label]), bias_above=above)
        described.append(item)
    return Head(name, tuple(described))
