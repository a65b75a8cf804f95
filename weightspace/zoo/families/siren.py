"""Implicit networks: pixel coordinates in, the pixel's value out."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weightspace.zoo.families.signature import Signature


def pixel_places(height: int, width: int) -> Float[Tensor, "pixels two"]:
    """Return the coordinates of an image's pixels, row by row, from -1 to 1 downwards and across."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], 1)


class Siren(nn.Module):
    """`depth` sine layers and a linear one, `sin(frequency (W x + b))`.

    Source: Sitzmann et al. (2020), "Implicit neural representations with periodic activation functions", section 3.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        width: int = 32,
        depth: int = 2,
        frequency: float = 30.0,
        dropout: bool = False,
    ):
        super().__init__()
        if dropout:
            raise ValueError("an implicit network takes no dropout")
        widths = (*signature.inputs, *[width] * depth, signature.outputs)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.frequency = frequency

    def forward(self, x: Tensor) -> Tensor:
        """Return values `(pixels, channels)` at coordinates `(pixels, 2)` in [-1, 1]."""
        for layer in list(self.layers)[:-1]:
            x = torch.sin(self.frequency * layer(x))
        return self.layers[-1](x)
