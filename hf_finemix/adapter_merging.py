"""
The weights that an adapter makes of its base's. Pure functions on tensors, with the same bits on every machine.

Products are summed up in float64 one rank, one column after the other, and rounded once to the dtype of the base: a
matrix product, whose order of summation is up to the processor, would make hashes differ from machine to machine.
"""

import torch


# Rows that are worked on at once: some MB in float64.
_ROWS = 256


def low_rank_delta(up: torch.Tensor, down: torch.Tensor, scaling: float) -> torch.Tensor:
    """
    Returns `scaling * up @ down`, what LoRA adds ("LoRA", Hu et al., ICLR 2022).

    Args:
        up (`torch.Tensor`): Shape (outputs, rank); PEFT calls it `lora_B`.
        down (`torch.Tensor`): Shape (rank, inputs); PEFT calls it `lora_A`.
        scaling (`float`): Factor.

    Returns:
        `torch.Tensor`: `float64`, shape (outputs, inputs).
    """
    up, down = up.double(), down.double()
    delta = torch.zeros(len(up), down.shape[1], dtype=torch.float64)
    for first in range(0, len(up), _ROWS):
        rows = slice(first, first + _ROWS)
        for rank in range(len(down)):
            # Two roundings, a product's and a sum's: never one instruction that has only the last.
            delta[rows] += up[rows, rank, None] * down[rank]
    return delta.mul_(scaling)


def with_delta(weight: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """Returns `weight + delta`, rounded once; shape and dtype of `weight`."""
    return (weight.double() + delta).to(weight.dtype)


def with_direction(weight: torch.Tensor, delta: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """
    Returns rows of the given lengths in the direction of `weight + delta` ("DoRA", Liu et al., ICML 2024).

    Args:
        weight (`torch.Tensor`): Shape (outputs, inputs).
        delta (`torch.Tensor`): `float64`, same shape.
        magnitude (`torch.Tensor`): Length of each row, shape (outputs,).
    """
    direction = weight.double() + delta
    squares = torch.zeros(len(direction), dtype=torch.float64)
    for column in direction.T:
        squares += column * column
    return (direction * (magnitude.double() / squares.sqrt())[:, None]).to(weight.dtype)


def scaled(weight: torch.Tensor, factors: torch.Tensor, of_inputs: bool) -> torch.Tensor:
    """
    Returns a weight with its inputs or outputs scaled ("(IA)^3", Liu et al., NeurIPS 2022).

    Args:
        weight (`torch.Tensor`): Shape (outputs, inputs), or (outputs,) for a bias.
        factors (`torch.Tensor`): As many as inputs or outputs, any shape.
        of_inputs (`bool`): Which of the two.
    """
    factors = factors.double().flatten()
    if weight.dim() > 1 and not of_inputs:
        factors = factors[:, None]
    return (weight.double() * factors).to(weight.dtype)


def with_rows(weight: torch.Tensor, rows: tuple[int, ...], values: torch.Tensor) -> torch.Tensor:
    """Returns an embedding with some rows replaced: `values` has shape (len(rows), hidden)."""
    replaced = weight.clone()
    replaced[torch.tensor(rows, dtype=torch.int64)] = values.to(weight.dtype)
    return replaced


def low_rank_factors(delta: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Returns the best product of two thin matrices for a change of weights, by truncated singular value decomposition.

    Args:
        delta (`torch.Tensor`): Shape (outputs, inputs).
        rank (`int`): Number of columns of the first and rows of the second; cut to what the shape allows.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: `float64`, shapes (outputs, rank) and (rank, inputs).
    """
    left, values, right = torch.linalg.svd(delta.double(), full_matrices=False)
    roots = values[:rank].sqrt()
    return left[:, :rank] * roots, roots[:, None] * right[:rank]
