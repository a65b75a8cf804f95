"""How the numbers of a tensor are spread, and its singular values: what a report draws."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from weightspace.inspect.statistics import TensorStatistics, scaled_gram, unit_matrix

BINS, SIDE, LEAST = 40, 768, 8
EDGE = 1.08
"""Bins of a histogram; largest smaller side of a matrix whose singular values are all computed; smaller side below
which nothing is said of chance; and how far above the edge of chance the largest singular value of noise may lie."""


@dataclass(frozen=True)
class Curves:
    """One tensor as curves.

    Args:
        name: As in the checkpoint.
        low: Where the histogram begins.
        high: Where it ends.
        counts: Of finite numbers in equal bins between.
        singular: Singular values, the largest first; empty for what is no matrix, holds a number that is not finite,
            or has more than `SIDE` units on both sides.
        edge: The largest singular value that independent numbers of this deviation would have; None where there are
            no singular values or fewer than `LEAST`.
        fan_in: Columns of the matrix; 0 where there are no singular values.
    """

    name: str
    low: float
    high: float
    counts: tuple[int, ...]
    singular: tuple[float, ...]
    edge: float | None
    fan_in: int

    @property
    def like_noise(self) -> bool:
        """Whether no singular value stands above those of independent numbers, or all are equal (orthogonal)."""
        if self.edge is None or not self.singular or self.singular[0] == 0:
            return False
        flat = self.singular[-1] > 0.99 * self.singular[0]
        return flat or self.singular[0] <= EDGE * self.edge

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return asdict(self) | {"counts": list(self.counts), "singular": list(self.singular)}


def tensor_curves(tensor: Tensor, statistics: TensorStatistics, *, view: str) -> Curves:
    """Return the histogram and the singular values of one tensor.

    Args:
        tensor: Of real or whole numbers.
        statistics: Of the same tensor.
        view: A letter for each dimension as in `Block.view`.

    Source:
        Marchenko & Pastur (1967): the largest singular value of an `m x n` matrix of independent numbers of deviation
        `s` tends to `s (sqrt(m) + sqrt(n))`. Martin & Mahoney (2021), "Implicit self-regularization in deep neural
        networks", read training off what stands above it.
    """
    values = tensor.detach().cpu()
    values = values.real if values.is_complex() else values
    low, high = statistics.quantiles[0], statistics.quantiles[-1]
    counts = _histogram(values, low, high)
    matrix = None if statistics.spectral_norm is None else unit_matrix(_real(values), view)
    if matrix is None or min(matrix.shape) > SIDE:
        return Curves(statistics.name, low, high, counts, (), None, 0)
    return Curves(statistics.name, low, high, counts, *_singular(matrix), matrix.shape[1])


def _histogram(values: Tensor, low: float, high: float) -> tuple[int, ...]:
    if not low < high:
        return ()
    total = torch.zeros(BINS, dtype=torch.int64)
    for piece in values.reshape(-1).split(1 << 22):
        found = ((piece.double() - low) / (high - low) * BINS).nan_to_num(-1.0, -1.0, -1.0)
        index = found[(found >= 0) & (found <= BINS)].long().clamp_max(BINS - 1)
        total += torch.bincount(index, minlength=BINS)
    return tuple(total.tolist())


def _real(values: Tensor) -> Tensor:
    return values if values.is_floating_point() else values.double()


def _singular(matrix: Tensor) -> tuple[tuple[float, ...], float | None]:
    """Singular values, and the edge of chance where the matrix is large enough to speak of one."""
    scale = matrix.abs().max().double().item() or 1.0
    gram = scaled_gram(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T, scale)
    found = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0) * scale
    rows, columns = matrix.shape
    if min(rows, columns) < LEAST:
        return tuple(found.tolist()), None
    deviation = sqrt(found.square().sum().item() / (rows * columns))
    return tuple(found.tolist()), deviation * (sqrt(rows) + sqrt(columns))
