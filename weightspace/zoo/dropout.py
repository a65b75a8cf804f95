"""Dropout with a rate and a mask of its own for each network of a stack."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn


class Dropout(nn.Module):
    """Zero each activation with probability `rate`, in training mode only.

    One byte of noise an activation, `u`, is shared by the whole stack; network `m` keeps it where
    `(u + phase_m) mod 256 >= 256 rate_m`, its phase drawn anew each step. Each mask alone is independent noise, and a
    network draws the same mask whether it is trained alone or among others. Rates are kept to the nearest 1/256.
    """

    rate: Tensor
    phase: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rate", torch.zeros((), dtype=torch.uint8), persistent=False)
        self.register_buffer("phase", torch.zeros((), dtype=torch.uint8), persistent=False)
        self.generator: Generator | None = None

    def forward(self, h: Tensor) -> Tensor:
        """Return `h` with its dropped entries at zero and the kept ones scaled up."""
        if not self.training:
            return h
        noise = torch.randint(256, h.shape, generator=self.generator, device=h.device, dtype=torch.uint8)
        scale = 256 / (256 - self.rate.to(h.dtype))
        return h * ((noise + self.phase) >= self.rate) * scale
