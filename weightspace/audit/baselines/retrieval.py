"""Training networks as they are."""

from __future__ import annotations

from torch import Generator, Tensor

from weightspace.audit.baselines.pool import Pool


def retrieve(pool: Pool, count: int, generator: Generator) -> tuple[dict[str, Tensor], list[str]]:
    """Return training networks: as good as the zoo and not new."""
    rows = pool.draw(count, generator)
    return {name: tensor[rows] for name, tensor in pool.weights.items()}, [str(pool.runs[row]) for row in rows]
