"""Weighted means over lists of units, by index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.nn.constants import on


@dataclass(frozen=True, eq=False)
class Gather:
    """Row `r` of the result is the mean of the rows `index[r]` of the input whose `weight` is not zero.

    A gather instead of a scatter, so that sums are taken in one fixed order on every device.

    Args:
        index: `(rows, entries)`.
        weight: `(rows, entries)`, each row adding up to one; None where every row has one entry.
        identity: Whether the result is the input as it stands.
    """

    index: Tensor
    weight: Tensor | None
    identity: bool

    def __call__(self, x: Float[Tensor, "models units width"]) -> Float[Tensor, "models rows width"]:
        """Return the means."""
        if self.identity:
            return x
        rows, entries = self.index.shape
        found = x.index_select(1, on(self.index, x).flatten())
        if self.weight is None:
            return found
        return torch.einsum("mrew,re->mrw", found.unflatten(1, (rows, entries)), on(self.weight, x))


def mean_gather(rows: np.ndarray, entries: np.ndarray, *, length: int) -> Gather:
    """Return the gather whose row `rows[i]` averages over `entries[i]`, from an input of `length` rows.

    Example:
        >>> mean = mean_gather(np.array([0, 0, 1]), np.array([0, 1, 2]), length=3)
        >>> mean(torch.tensor([[[1.0], [3.0], [7.0]]])).flatten().tolist()
        [2.0, 7.0]
    """
    order = np.lexsort((entries, rows))
    rows, entries = rows[order], entries[order]
    counts = np.bincount(rows)
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.zeros((len(counts), int(counts.max())), np.int64)
    index[rows, rank] = entries
    if index.shape[1] == 1:
        return Gather(torch.from_numpy(index), None, bool(np.array_equal(index[:, 0], np.arange(length))))
    weight = (np.arange(index.shape[1]) < counts[:, None]) / counts[:, None]
    return Gather(torch.from_numpy(index), torch.from_numpy(weight), False)
