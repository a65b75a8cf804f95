"""Unit states: how they are centred, read and updated."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.nn.seeded import draw


def root_mean_square(h: Float[Tensor, "*lead width"]) -> Float[Tensor, "*lead width"]:
    """Divide each vector by its root mean square."""
    return _applied(_RootMeanSquare, h)[0]


def standardise(
    m: Float[Tensor, "models rows width"], pool: Float[Tensor, "segments rows"] | None, segment: Tensor | None
) -> tuple[Float[Tensor, "models rows width"], Float[Tensor, "models segments width"]]:
    """Centre messages over the units of each segment and divide them by their root mean square; also the means.

    The means come divided by the root mean square before centring, so that they lie within about -1 to 1. What is
    constant over the units up to rounding becomes zero instead of noise: the divisor never falls below the square
    root of the machine precision times the uncentred size. Without this step a sweep forgets its input as the width
    grows: what all units share adds up, what tells them apart does not.

    Args:
        m: Messages.
        pool: Mean over the rows of each segment; None where there is one segment.
        segment: Of each row; None where there is one.
    """
    if pool is None or segment is None:
        told, mean = _applied(_Standardise, m)
        return told, mean
    eps = torch.finfo(m.dtype).eps
    mean = pool @ m
    centred = m - mean[:, segment]
    spread = pool @ centred.square().mean(2, keepdim=True)
    whole = spread + mean.square().mean(2, keepdim=True)
    scale = (spread + eps * whole + eps**2).rsqrt()
    return centred * scale[:, segment], mean / (whole + eps**2).sqrt()


class _RootMeanSquare(torch.autograd.Function):
    """`y = s x` with `s` one over the root mean square; its own slope, which keeps one tensor instead of three."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor]:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1]
        scale = (square + torch.finfo(x.dtype).eps ** 2).rsqrt()
        y = x * scale
        ctx.save_for_backward(y, scale)
        return (y,)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        along = (grad * y).sum(-1, keepdim=True) / y.shape[-1]
        return torch.addcmul(grad, y, along, value=-1).mul_(scale)


class _Standardise(torch.autograd.Function):
    """`standardise` of one segment, with its own slope.

    With `u` the mean, `v = mean (m - u)^2`, `q = mean u^2`: `y = s (m - u)`, `s^-2 = v + e (v + q) + e^2`, and
    `z = u / t`, `t^2 = v + q + e^2`.
    """

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> tuple[Tensor, Tensor]:
        eps, (rows, width) = torch.finfo(m.dtype).eps, m.shape[1:]
        mean = m.mean(1, keepdim=True)
        y = m - mean
        spread = torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True).square() / (rows * width)
        whole = spread + mean.square().mean(2, keepdim=True)
        scale, size = (spread + eps * whole + eps**2).rsqrt(), (whole + eps**2).sqrt()
        y.mul_(scale)
        z = mean / size
        ctx.save_for_backward(y, z, scale, size)
        return y, z

    @staticmethod
    def backward(ctx: Any, to_y: Tensor, to_z: Tensor) -> Tensor:
        y, z, scale, size = ctx.saved_tensors
        eps, (rows, width) = torch.finfo(y.dtype).eps, y.shape[1:]
        along = (to_y * y).sum((1, 2), keepdim=True) * scale
        beside = (to_z * z).sum(2, keepdim=True) / size
        to_mean = (to_z - z * (beside + eps * along * scale * size) * size / width) / (rows * size)
        to_spread = -((1 + eps) * along + beside / (scale * size)) / (rows * width)
        shared = to_mean - to_y.mean(1, keepdim=True) * scale
        return torch.addcmul(shared, to_y, scale).addcmul_(y, to_spread)


def _applied(function: type[torch.autograd.Function], x: Tensor) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = function.apply(x)
    return found


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

    def forward(self, state: Tensor, message: Tensor, parent: Tensor | None, said: Tensor) -> Tensor:
        """Return the change, `(models, rows, width)`.

        Args:
            state: Of the units, divided by its root mean square, `(models, rows, width)`.
            message: To them.
            parent: State of the parent of each, divided likewise; None where no unit has one.
            said: `context @ self.context`, `(models, 2 * width)`.
        """
        hidden = state @ self.state + message @ self.message
        hidden += said[:, None]
        if parent is not None:
            hidden = hidden + parent @ self.parent
        return silu(hidden) @ self.out
