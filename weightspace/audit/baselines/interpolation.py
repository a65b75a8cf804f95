"""Two training networks, one aligned to the other, half and half."""

from __future__ import annotations

from torch import Generator, Tensor

from weightspace.audit.baselines.pool import Pool
from weightspace.audit.baselines.soup import average_soups


def interpolate_pairs(pool: Pool, count: int, generator: Generator) -> tuple[dict[str, Tensor], list[str]]:
    """Return midpoints of pairs of networks, units matched.

    Source: Ainsworth et al. (2023), "Git Re-Basin: merging models modulo permutation symmetries", section 5.
    """
    return average_soups(pool, count, generator, members=2)
