"""Learned vectors for an open set of words (layer kinds, operations)."""

from __future__ import annotations

from zlib import crc32

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

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

    def forward(self, words: tuple[str, ...]) -> Float[Tensor, " width"]:
        """Return the mean vector of the words; zeros for none."""
        if not words:
            return torch.zeros_like(self.table[0])
        return self.table[[crc32(word.encode()) % len(self.table) for word in words]].mean(0)
