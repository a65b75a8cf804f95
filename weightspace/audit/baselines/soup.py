"""Several training networks, all aligned to one, averaged."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from weightspace.audit.baselines.pool import Pool

MEMBERS = 16


def average_soups(
    pool: Pool, count: int, generator: Generator, *, members: int = MEMBERS
) -> tuple[dict[str, Tensor], list[str]]:
    """Return means of networks whose units are matched to those of the first of them.

    Source: Wortsman et al. (2022), "Model soups"; Ainsworth et al. (2023), "Git Re-Basin", section 3.2.
    """
    members = min(members, len(pool))
    found: dict[str, list[Tensor]] = {name: [] for name in pool.weights}
    for _ in range(count):
        rows = torch.randperm(len(pool), generator=generator)[:members].tolist()
        moved = [pool.aligned(row, rows[0]) for row in rows]
        for name, means in found.items():
            means.append(torch.stack([tensors[name].double() for tensors in moved]).mean(0).float())
    return {name: torch.stack(means) for name, means in found.items()}, [f"soup {i}" for i in range(count)]
