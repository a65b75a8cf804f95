"""Training networks with noise on their weights."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from weightspace.audit.baselines.pool import Pool


def add_noise(pool: Pool, count: int, generator: Generator, *, level: float) -> tuple[dict[str, Tensor], list[str]]:
    """Return training networks plus normal noise of a share of the deviation of each tensor.

    Source: Zeng et al. (2025), "Generative modeling of weights: generalization or memorization?", section 3.
    """
    rows = pool.draw(count, generator)
    found = {}
    for name, tensor in pool.weights.items():
        kept = tensor[rows]
        if not kept.is_floating_point() or pool.graph.blocks[name].kind.startswith("running"):
            found[name] = kept
            continue
        spread = kept.flatten(1).std(1, correction=0).view(-1, *[1] * (kept.ndim - 1))
        found[name] = kept + level * spread * torch.randn(kept.shape, generator=generator)
    return found, [str(pool.runs[row]) for row in rows]
