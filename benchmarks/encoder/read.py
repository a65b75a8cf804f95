"""Vectors and predictions of an encoder for networks of a population, stacked by architecture."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Generator, Tensor

from weightspace.encode.encoder import Encoder
from weightspace.encode.plan import compile_plan
from weightspace.execute.pieces import in_pieces
from weightspace.graph.symmetry.widen import widen
from weightspace.zoo.stacks import Stack, stack_rows
from weightspace.zoo.store import Population

TOGETHER = 1 << 23
"""Weights that are encoded together, about."""


@dataclass(frozen=True)
class View:
    """How networks are seen.

    Args:
        run: Whether they are run on the probes.
        factor: How many times as wide, their function kept.
        uneven: Whether outgoing weights are split unevenly among the copies of a unit.
        device: Where.
    """

    run: bool
    factor: int = 1
    uneven: bool = False
    device: str = "cpu"


@torch.no_grad()
def read_rows(encoder: Encoder, population: Population, rows: pd.DataFrame, view: View) -> tuple[pd.DataFrame, Tensor]:
    """Return the rows, those that diverged left out, and their vectors `(rows, latent)`, in one order."""
    encoder.network.to(view.device)
    kept, vectors = [], []
    for stack in stack_rows(population, rows[~rows["diverged"]], view.device):
        kept.append(stack.rows)
        vectors += _read_stack(encoder, stack, view)
    return pd.concat(kept, ignore_index=True), torch.cat(vectors)


def _read_stack(encoder: Encoder, stack: Stack, view: View) -> list[Tensor]:
    """Vectors of networks, widened if they are to be, and what they answered before."""
    known = encoder.architectures.of(stack.first)
    widening = widen(known.graph, view.factor) if view.factor > 1 else None
    plan = known.plan if widening is None else compile_plan(widening.graph)
    generator = Generator(view.device).manual_seed(0)

    def read(some: slice) -> Tensor:
        weights, answers = {n: t[some] for n, t in stack.weights.items()}, None
        if view.run and known.runner is not None:
            answers = known.runner.answer(encoder.network.probes, weights)
        if widening is not None:
            weights = widening(weights, generator if view.uneven else None)
        return encoder.network(plan, weights, answers).vector.cpu()

    size = max(1, sum(t[0].numel() for t in stack.weights.values()) * view.factor**2)
    return in_pieces(read, len(stack.rows), TOGETHER // size)
