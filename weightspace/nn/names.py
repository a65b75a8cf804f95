"""Learned vectors for an open set of words (layer kinds, operations)."""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.nn.constants import on
from weightspace.nn.seeded import draw


class WordTable(nn.Module):
    """A vector a word; words share `rows` rows by their checksum, so that a new layer kind needs no new table.

    Args:
        rows: Of the table.
        width: Of a vector.
        generator: Draws the table.
    """

    def __init__(self, rows: int, width: int, *, generator: Generator) -> None:
        super().__init__()
        self.table = draw(rows, width, generator=generator, scale=1.0)

    def forward(self, lists: tuple[tuple[str, ...], ...]) -> Float[Tensor, "lists width"]:
        """Return the mean vector of the words of each list; zeros for an empty one."""
        return on(_shares(lists, len(self.table)), self.table) @ self.table


@lru_cache(maxsize=1024)
def _shares(lists: tuple[tuple[str, ...], ...], rows: int) -> Float[Tensor, "lists rows"]:
    """How much each row of the table counts in the mean of each list."""
    shares = torch.zeros(len(lists), rows, dtype=torch.float64)
    for share, words in zip(shares, lists, strict=True):
        for word in words:
            share[crc32(word.encode()) % rows] += 1 / len(words)
    return shares
