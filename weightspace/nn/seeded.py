"""Parameters drawn from a given generator, so that a module never touches the global one."""

from __future__ import annotations

import torch
from torch import Generator, nn


def draw(*shape: int, generator: Generator, scale: float | None = None) -> nn.Parameter:
    """Return a normal parameter; without a scale, one over the square root of its last but one size (the fan-in)."""
    std = shape[-2] ** -0.5 if scale is None else scale
    return nn.Parameter(torch.randn(shape, generator=generator) * std)
