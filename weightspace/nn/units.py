"""Unit states: how they are centred, read and updated."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.nn.seeded import draw


def root_mean_square(h: Float[Tensor, "*lead width"]) -> Float[Tensor, "*lead width"]:
    """Divide each vector by its root mean square."""
    return h * (h.square().mean(-1, keepdim=True) + torch.finfo(h.dtype).eps ** 2).rsqrt()


def standardise(
    m: Float[Tensor, "models rows width"], pool: Float[Tensor, "segments rows"], segment: Tensor
) -> tuple[Float[Tensor, "models rows width"], Float[Tensor, "models segments width"]]:
    """Centre messages over the units of each segment and divide them by their root mean square; also the means.

    The means come divided by the root mean square before centring, so that they lie within about -1 to 1. What is
    constant over the units up to rounding becomes zero instead of noise: the divisor never falls below the square
    root of the machine precision times the uncentred size. Without this step a sweep forgets its input as the width
    grows: what all units share adds up, what tells them apart does not.
    """
    info = torch.finfo(m.dtype)
    single = len(pool) == 1
    mean = m.mean(1, keepdim=True) if single else pool @ m
    centred = m - (mean if single else mean[:, segment])
    spread = centred.square().mean((1, 2))[:, None] if single else (pool @ centred.square().mean(2)[..., None])[..., 0]
    whole = spread + mean.square().mean(2)
    scale = (spread + info.eps * whole + info.eps**2).rsqrt()
    return centred * (scale if single else scale[:, segment])[..., None], mean / (whole + info.eps**2).sqrt()[..., None]


class UnitUpdate(nn.Module):
    """What a message adds to a unit's state: two layers over state, message, the parent's state and the context.

    Args:
        width: Of a unit's state.
        context: Width of what the block says about itself (kind, operations, statistics).
        generator: Draws the weights.
    """

    def __init__(self, width: int, context: int, *, generator: Generator) -> None:
        super().__init__()
        self.state = draw(width, 2 * width, generator=generator)
        self.message = draw(width, 2 * width, generator=generator)
        self.parent = draw(width, 2 * width, generator=generator)
        self.context = draw(context, 2 * width, generator=generator)
        self.out = draw(2 * width, width, generator=generator)

    def forward(self, state: Tensor, message: Tensor, parent: Tensor | None, context: Tensor) -> Tensor:
        """Return the change, `(models, rows, width)`; `context` is `(models, context)`."""
        hidden = root_mean_square(state) @ self.state + message @ self.message + (context @ self.context)[:, None]
        if parent is not None:
            hidden = hidden + root_mean_square(parent) @ self.parent
        return silu(hidden) @ self.out
