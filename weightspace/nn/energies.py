"""How unevenly the energy of a matrix is spread over its rows and columns, beside a matrix of shuffled numbers."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.nn.constants import on
from weightspace.nn.tiles import group_tiles

SCORES = 18
"""Numbers of `evenness`."""


def row_column_excess(
    rows: Float[Tensor, "models rows"],
    columns: Float[Tensor, "models columns"],
    fourths: Float[Tensor, " models"],
    count: int,
) -> Float[Tensor, "models two"]:
    """Return how far the energies of rows, and of columns, vary beyond what shuffled numbers do.

    Training lets some units grow and others fade; shuffling the entries of a tensor evens that out and leaves every
    moment and quantile as it was. In deviations of what is expected if the same numbers stand in random order: about 0,
    give or take 1, if they do.

    Args:
        rows: Sum of squares of each row; of each row of each group where units are linked to some others alone.
        columns: Of each column.
        fourths: Sum of fourth powers of all numbers.
        count: Of all numbers.
    """
    square = rows.sum(1, keepdim=True) / count
    unit = torch.where(square > 0, square, 1.0)
    spread = (fourths[:, None] / count / unit.square() - 1).clamp_min(0)  # relative variance of the squares
    return torch.cat([_excess(side / unit, spread, count) for side in (rows, columns)], 1)


def excess_of_groups(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, split: tuple[str, Tensor]
) -> Float[Tensor, "models two"]:
    """Return `row_column_excess` of a tensor whose groups have rows and columns of their own, some groups at a time."""
    rows, columns = list[Tensor](), list[Tensor]()
    fourths = weight.new_zeros(len(weight), dtype=dtype)
    for _, tile in group_tiles(weight, dtype, split):
        squares = tile.square()
        rows.append(squares.sum((3, 4)).flatten(1))
        columns.append(squares.sum((2, 4)).flatten(1))
        fourths = fourths + squares.square().sum((1, 2, 3, 4))
    return row_column_excess(torch.cat(rows, 1), torch.cat(columns, 1), fourths, weight[0].numel())


def evenness(excesses: Float[Tensor, "models tensors two"]) -> Float[Tensor, "models eighteen"]:
    """Return scores of a network against shuffled numbers: of all its tensors, of their first half, of their last.

    Of `n` excesses `z`, each about 0 give or take 1 if entries stand in random order, `sum z / sqrt(n)` and
    `sum (z^2 - 1) / sqrt(2 n)` are so too, however many there are; small excesses of many tensors add up. Of rows, of
    columns, and of both together; half the inverse hyperbolic sine of each. Tensors of one row or column, of which an
    excess says nothing, do not count.

    Args:
        excesses: Of rows and of columns of each tensor, see `row_column_excess`; in the order of the network.
    """
    models, tensors, _ = excesses.shape
    sets = on(_sets(tensors), excesses)
    z = excesses.reshape(models, -1)
    known = (z != 0).to(z)
    root = (known @ sets).clamp_min(1).sqrt()
    found = torch.stack([z @ sets, (z.square() - known) @ sets / 2**0.5], 2) / root[..., None]
    return found.flatten(1).asinh() / 2


@lru_cache(maxsize=1024)
def _sets(tensors: int) -> Float[Tensor, "excesses nine"]:
    """Which excesses, of rows and columns in turn, each pair of scores is of."""
    place = torch.arange(tensors).repeat_interleave(2)
    parts = place >= 0, place < (tensors + 1) // 2, place >= tensors // 2
    side = torch.arange(2).repeat(tensors)
    return torch.stack([part & which for part in parts for which in (side == 0, side == 1, side >= 0)], 1).double()


def _excess(energies: Float[Tensor, "models lines"], spread: Tensor, count: int) -> Float[Tensor, "models one"]:
    lines = energies.shape[1]
    each = count // lines
    if lines < 2 or each < 2:
        return torch.zeros_like(spread)
    expected = spread / each * (count - each) / (count - 1)  # a sample drawn without replacement
    found = (energies / each).var(1, keepdim=True)
    known = expected > torch.finfo(expected.dtype).eps
    return torch.where(known, (found / torch.where(known, expected, 1.0) - 1) / (2 / (lines - 1)) ** 0.5, 0.0)
