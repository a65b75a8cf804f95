"""Read-outs of properties from vectors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.encode.properties import PROPERTIES
from weightspace.nn.seeded import draw


class PropertyHeads(nn.Module):
    """Each property from the vector, twice: by one matrix, so that it is written in plain sight, and by two layers.

    Args:
        latent: Width of the vector.
        classes: Names of each property of names.
        hidden: Width of the layer between.
        generator: Draws the weights.
    """

    def __init__(
        self, latent: int, classes: Mapping[str, list[str]], *, hidden: int = 256, generator: Generator
    ) -> None:
        super().__init__()
        self.widths = {
            n: len(classes[n]) if n in classes else 1 for n, p in PROPERTIES.items() if not p.classes or n in classes
        }
        outputs = sum(self.widths.values())
        self.linear = draw(latent, outputs, generator=generator)
        self.first = draw(latent, hidden, generator=generator)
        self.second = draw(hidden, outputs, generator=generator)
        self.offset = nn.Parameter(torch.zeros(2, outputs))

    def forward(self, vector: Tensor) -> dict[str, Tensor]:
        """Return `(2, models, width)` by property: of the matrix, then of the layers."""
        plain = vector @ self.linear + self.offset[0]
        deep = silu(vector @ self.first) @ self.second + self.offset[1]
        both = torch.stack([plain, deep])
        return dict(zip(self.widths, both.split(list(self.widths.values()), 2), strict=True))
