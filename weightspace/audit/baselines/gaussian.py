"""A normal distribution of aligned weights, number by number."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from weightspace.audit.baselines.pool import Pool


def draw_gaussian(pool: Pool, count: int, generator: Generator) -> tuple[dict[str, Tensor], list[str]]:
    """Return draws from the mean and deviation of each weight over networks whose units are matched to the first's."""
    found = {}
    for name, tensor in pool.to_first.items():
        whole = tensor.double()
        noise = torch.randn(count, *whole.shape[1:], generator=generator, dtype=torch.float64)
        found[name] = (whole.mean(0) + whole.std(0, correction=0) * noise).float()
    return found, [f"Gaussian {i}" for i in range(count)]
