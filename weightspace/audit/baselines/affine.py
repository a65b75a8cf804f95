"""Random mixtures of aligned weights whose shares add up to one."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from weightspace.audit.baselines.pool import Pool

MEMBERS = 4


def mix_affinely(pool: Pool, count: int, generator: Generator) -> tuple[dict[str, Tensor], list[str]]:
    """Return mixtures of four networks, units matched to the first network's, with shares from a flat Dirichlet."""
    members = min(MEMBERS, len(pool))
    rows = torch.stack([torch.randperm(len(pool), generator=generator)[:members] for _ in range(count)])
    shares = -torch.rand(count, members, generator=generator).clamp_min(1e-9).log()
    shares = shares / shares.sum(1, keepdim=True)
    mixed = {name: torch.einsum("cm,cm...->c...", shares, t[rows].float()) for name, t in pool.to_first.items()}
    return mixed, [f"mixture {i}" for i in range(count)]
