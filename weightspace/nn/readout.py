"""What a block's message says about its units, as numbers of order one at every width."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import layer_norm, silu

from weightspace.nn.seeded import draw
from weightspace.nn.units import standardise

GAIN = 16.0
MANY = 64
"""Units from which on their correlations with messages cost less than what each says along all directions."""


class _Asinh(torch.autograd.Function):
    """Ten times as quick as the operator of PyTorch on CPUs, for numbers whose square is finite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        square = x * x
        return (x.abs() + square / ((1 + square).sqrt() + 1)).log1p().copysign(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x * x + 1).rsqrt()


def asinh(x: Float[Tensor, "*sizes"]) -> Float[Tensor, "*sizes"]:
    """Return the inverse hyperbolic sine of numbers whose square is finite.

    Example:
        >>> asinh(torch.tensor([0.0, -1.0])).tolist() == torch.tensor([0.0, -1.0]).asinh().tolist()
        True
    """
    found = _Asinh.apply(x)
    assert isinstance(found, Tensor)
    return found


class Correlation(nn.Module):
    """Correlation over the units between what they were and what they are told, along pairs of directions.

    `r_j = asinh(g * mean_u (h_u . p_j)(m_u . q_j))` with `h` and `m` centred and scaled over the units. A mean over
    `n` units of anything unrelated is of order `1/sqrt(n)`; the gain `g` lifts that into sight up to widths of a few
    thousand, and, being fixed, leaves the result alone when every unit is doubled. This is where a message that
    arrives at the wrong units shows, however alike the statistics of all tensors are.

    `g` and `asinh` are left to whom they serve, who can take many blocks at once.

    Args:
        width: Of states and messages.
        pairs: How many.
        generator: Draws the directions.
    """

    def __init__(self, width: int, pairs: int, *, generator: Generator) -> None:
        super().__init__()
        self.states = draw(width, pairs, generator=generator)
        self.messages = draw(width, pairs, generator=generator)

    def forward(
        self, h: Tensor, m: Tensor, pool: Tensor | None, segment: Tensor | None
    ) -> Float[Tensor, "models segments pairs"]:
        """Return `mean_u` of each segment; `m` is standardised.

        Of many units `mean_u h_u m_u^T` is taken first: it costs less than the directions of each.
        """
        states, _ = standardise(h, pool, segment)
        if pool is None and m.shape[1] > MANY:
            joint = states.mT @ m / m.shape[1]
            return (self.states * (joint @ self.messages)).sum(1, keepdim=True)
        product = (states @ self.states) * (m @ self.messages)
        return product.mean(1, keepdim=True) if pool is None else pool @ product


class Fingerprint(nn.Module):
    """Waves of what every stage said, added up so that a change in any one of many stages still shows.

    `f = 1/sqrt(stages) * sum_s sin(x_s W + p)`, with the rows of `W` at scales from `slow` to `fast`. Slow waves follow
    what the stages say; fast ones turn wherever one of them says something else, so that two networks differ in
    them by the same order whatever their depth, and by the share of stages that changed if one was made of the other.
    Rounding is amplified once, by at most `fast`, never along the depth as in a chaotic recurrence. Nothing of it is
    learned.

    Waves of the whole network take the place of the fastest ones where there are some: `sin(g F M + q)` with the plain
    sums `F = sqrt(stages) f`. They turn as far where one stage of a hundred says something else as where all do.

    Args:
        inputs: Width of a stage's read-out.
        waves: How many.
        whole: Of the whole network, among them.
        generator: Draws the weights.
    """

    slow, fast, turn = 0.3, 300.0, 1.0
    rates: Tensor
    phases: Tensor
    mixing: Tensor
    starts: Tensor

    def __init__(self, inputs: int, waves: int, *, whole: int = 0, generator: Generator) -> None:
        super().__init__()
        scales, kept = torch.logspace(math.log10(self.slow), math.log10(self.fast), waves), waves - whole
        self.register_buffer("rates", (draw(inputs, waves, generator=generator).detach() * scales)[:, :kept])
        self.register_buffer("phases", draw(1, waves, generator=generator, scale=math.pi).detach()[:, :kept])
        self.whole = whole
        if whole:
            self.register_buffer("mixing", draw(kept, whole, generator=generator, scale=self.turn / kept**0.5).detach())
            self.register_buffer("starts", draw(1, whole, generator=generator, scale=math.pi).detach())

    def forward(self, x: Float[Tensor, "models stages inputs"]) -> Float[Tensor, "models waves"]:
        """Return the sums of the waves, then the waves of the whole."""
        total = (x @ self.rates + self.phases).sin().sum(1)
        found = total / math.sqrt(x.shape[1])
        return torch.cat([found, (total @ self.mixing + self.starts).sin()], 1) if self.whole else found


class ReadOut(nn.Module):
    """From what is read off a network to its vector: one matrix, or with `hidden` two layers beside it.

    With `hidden` each part is first brought to mean 0 and deviation 1 over its features, so that parts of any size
    count alike.

    Args:
        parts: Width of each part, and how much it counts at first.
        latent: Width of the vector.
        hidden: Width of the layers; 0 for none.
        generator: Draws the weights.
    """

    def __init__(self, parts: list[tuple[int, float]], latent: int, hidden: int, *, generator: Generator) -> None:
        super().__init__()
        heads = [draw(n, latent, generator=generator, scale=e / latent**0.5) for n, e in parts]
        self.linear = nn.Parameter(torch.cat([head.detach() for head in heads]))
        self.hidden = hidden
        if hidden:
            self.first = draw(len(self.linear), hidden, generator=generator)
            self.second = draw(hidden, hidden, generator=generator)
            self.third = draw(hidden, latent, generator=generator)

    def forward(self, parts: list[Tensor]) -> Float[Tensor, "models latent"]:
        """Return the vectors."""
        if not self.hidden:
            return torch.cat(parts, 1) @ self.linear
        x = torch.cat([layer_norm(part, part.shape[1:]) for part in parts], 1)
        return x @ self.linear + silu(silu(x @ self.first) @ self.second) @ self.third


class FixedReadOut(nn.Module):
    """Fixed random directions of what is read off: distances along them are those between what is read off.

    Args:
        parts: Width of each part, and how much it counts.
        numbers: How many directions.
        generator: Draws them.
    """

    directions: Tensor

    def __init__(self, parts: list[tuple[int, float]], numbers: int, *, generator: Generator) -> None:
        super().__init__()
        drawn = [effort * torch.randn(width, numbers, generator=generator) for width, effort in parts]
        self.register_buffer("directions", torch.cat(drawn) / numbers**0.5)

    def forward(self, parts: list[Tensor]) -> Float[Tensor, "models numbers"]:
        """Return the places along the directions."""
        return torch.cat(parts, 1) @ self.directions


def moments(x: Float[Tensor, "models items width"]) -> Float[Tensor, "models features"]:
    """Mean and standard deviation over the items, side by side."""
    mean = x.mean(1, keepdim=True)
    spread = (x - mean).square().mean(1).clamp_min(torch.finfo(x.dtype).eps ** 2)
    return torch.cat([mean[:, 0], spread.sqrt()], 1)
