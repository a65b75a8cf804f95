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

    def forward(self, words: tuple[str, ...]) -> Float[Tensor, " width"]:
        """Return the mean vector of the words; zeros for none."""
        if not words:
            return torch.zeros_like(self.table[0])
        return self.table[on(_places(words, len(self.table)), self.table)].mean(0)


@lru_cache(maxsize=1024)
def _places(words: tuple[str, ...], rows: int) -> Tensor:
    return torch.tensor([crc32(word.encode()) % rows for word in words])
