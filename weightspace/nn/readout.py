"""What a block's message says about its units, as numbers of order one at every width."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.nn.seeded import draw
from weightspace.nn.units import root_mean_square, standardise

GAIN = 16.0


class Correlation(nn.Module):
    """Correlation over the units between what they were and what they are told, along pairs of directions.

    `r_j = asinh(g * mean_u (h_u . p_j)(m_u . q_j))` with `h` and `m` centred and scaled over the units. A mean over
    `n` units of anything unrelated is of order `1/sqrt(n)`; the gain `g` lifts that into sight up to widths of a few
    thousand, and, being fixed, leaves the result alone when every unit is doubled. This is where a message that
    arrives at the wrong units shows, however alike the statistics of all tensors are.

    Args:
        width: Of states and messages.
        pairs: How many.
        generator: Draws the directions.
    """

    def __init__(self, width: int, pairs: int, *, generator: Generator) -> None:
        super().__init__()
        self.states = draw(width, pairs, generator=generator)
        self.messages = draw(width, pairs, generator=generator)

    def forward(self, h: Tensor, m: Tensor, pool: Tensor, segment: Tensor) -> Float[Tensor, "models pairs"]:
        """Sum over the segments, divided by the square root of how many there are."""
        centred, _ = standardise(h, pool, segment)
        product = (centred @ self.states) * (m @ self.messages)
        mean = product.mean(1, keepdim=True) if len(pool) == 1 else pool @ product
        return (GAIN * mean).asinh().sum(1) / math.sqrt(len(pool))


class Track(nn.Module):
    """A state that runs along with the sweep and keeps what every block said, whatever the depth.

    `g <- g + silu([g / |g|, x]) U`: each block adds a vector that depends on all blocks before it.

    Args:
        width: Of the state.
        inputs: Width of a block's read-out.
        generator: Draws the weights.
    """

    def __init__(self, width: int, inputs: int, *, generator: Generator) -> None:
        super().__init__()
        self.state = draw(width, 2 * width, generator=generator)
        self.inputs = draw(inputs, 2 * width, generator=generator)
        self.out = draw(2 * width, width, generator=generator)

    def forward(self, g: Tensor, x: Tensor) -> Float[Tensor, "models width"]:
        """Return the next state."""
        return g + silu(root_mean_square(g) @ self.state + x @ self.inputs) @ self.out


def moments(x: Float[Tensor, "models items width"]) -> Float[Tensor, "models features"]:
    """Mean and standard deviation over the items, side by side."""
    return torch.cat([x.mean(1), x.var(1, unbiased=False).clamp_min(torch.finfo(x.dtype).tiny).sqrt()], 1)
