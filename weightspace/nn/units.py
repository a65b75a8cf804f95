"""Unit states: how they are centred, read and updated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.nn.seeded import draw


def root_mean_square(h: Float[Tensor, "*lead width"]) -> Float[Tensor, "*lead width"]:
    """Divide each vector by its root mean square."""
    if not h.requires_grad:
        return _even(h)[0]
    (found,) = _RootMeanSquare.apply(h)
    return found


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
        told, mean = _Standardise.apply(m) if m.requires_grad else _centred(m)[:2]
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
        y, scale = _even(x)
        ctx.save_for_backward(y, scale)
        return (y,)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        along = (grad * y).sum(-1, keepdim=True)
        return torch.addcmul(grad, y, along, value=-1 / y.shape[-1]).mul_(scale)


def _even(x: Tensor) -> tuple[Tensor, Tensor]:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    scale = torch.addcmul(_least(x.dtype, x.device), norm, norm, value=1 / x.shape[-1]).rsqrt_()
    return x * scale, scale


class _Standardise(torch.autograd.Function):
    """`standardise` of one segment, with its own slope.

    With `u` the mean, `v = mean (m - u)^2 + e^2`, `t^2 = v + mean u^2`: `y = s (m - u)`, `s^-2 = v + e t^2` and
    `z = u / t`.
    """

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> tuple[Tensor, Tensor]:
        found = _centred(m)
        ctx.save_for_backward(*found)
        return found[:2]

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


def _centred(m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`y`, `z`, `s` and `t`, in as few steps as it takes: small networks are all overhead."""
    mean = m.mean(1, keepdim=True)
    y = m - mean
    spread, level = (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) for x in (y, mean))
    within = torch.addcmul(_least(m.dtype, m.device), spread, spread, value=1 / (m.shape[1] * m.shape[2]))
    whole = torch.addcmul(within, level, level, value=1 / m.shape[2])
    scale, size = within.add_(whole, alpha=torch.finfo(m.dtype).eps).rsqrt_(), whole.sqrt_()
    return y.mul_(scale), mean.div_(size), scale, size


@lru_cache
def _least(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(torch.finfo(dtype).eps ** 2, dtype=dtype, device=device)


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
        known, parameters = [message, state], [self.message, self.state]
        if parent is not None:
            known, parameters = [*known, parent], [*parameters, self.parent]
        if not torch.is_grad_enabled():
            return silu(_hidden(said, known, parameters)) @ self.out
        change = _Change.apply(said, self.out, *known, *parameters)
        assert isinstance(change, Tensor)
        return change


def _hidden(said: Tensor, known: Sequence[Tensor], parameters: Sequence[Tensor]) -> Float[Tensor, "models rows width"]:
    """`said + sum_i x_i P_i`; the first `x` has all models."""
    first, *others = (x @ p for x, p in zip(known, parameters, strict=True))
    for other in others:
        first += other
    return first.add_(said[:, None])


class _Change(torch.autograd.Function):
    """`silu(said + sum_i x_i P_i) out`; the layer between is computed again on the way back instead of being kept."""

    @staticmethod
    def forward(ctx: Any, said: Tensor, out: Tensor, *rest: Tensor) -> Tensor:
        half = len(rest) // 2
        ctx.save_for_backward(said, out, *rest)
        return silu(_hidden(said, rest[:half], rest[half:])) @ out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        said, out, *rest = ctx.saved_tensors
        known, parameters = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        hidden = _hidden(said, known, parameters)
        gate = hidden.sigmoid()
        active = hidden.mul_(gate)
        to_out = active.flatten(0, 1).mT @ grad.flatten(0, 1)
        slope = torch.addcmul(gate + active, active, gate, value=-1)
        to_hidden = (grad @ out.mT).mul_(slope)
        each = [to_hidden if len(x) == len(grad) else to_hidden.sum(0, keepdim=True) for x in known]
        to_known = [to @ p.mT for to, p in zip(each, parameters, strict=True)]
        to_parameters = [x.flatten(0, 1).mT @ to.flatten(0, 1) for x, to in zip(known, each, strict=True)]
        return to_hidden.sum(1), to_out, *to_known, *to_parameters
