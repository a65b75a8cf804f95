"""Networks that were never trained."""

from __future__ import annotations

from torch import Generator, Tensor

from weightspace.audit.baselines.pool import Pool
from weightspace.zoo.initialise import draw_weights
from weightspace.zoo.layout import Layout


def draw_start(pool: Pool, count: int, generator: Generator) -> tuple[dict[str, Tensor], list[str]]:
    """Return networks as PyTorch initialises them."""
    layout = Layout.of(pool.module)
    seeds = [int(generator.initial_seed()) * 1_000_003 + i for i in range(count)]
    drawn = layout.view(draw_weights(layout, ["torch"] * count, [1.0] * count, seeds))
    state = pool.module.state_dict()
    fixed = {n: t.expand(count, *t.shape).clone() for n, t in state.items() if n not in drawn}
    return dict(drawn) | fixed, [f"start {i}" for i in range(count)]
