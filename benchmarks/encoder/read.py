"""Vectors and predictions of an encoder for networks of a population, stacked by architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Generator, Tensor

from weightspace.encode.answers import input_shape, run_networks
from weightspace.encode.encoder import Encoder
from weightspace.encode.plan import compile_plan
from weightspace.graph.symmetry.widen import widen
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program
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
    for name, same in rows[~rows["diverged"]].groupby("architecture", observed=True, sort=True):
        kept.append(same)
        vectors += list(_read_architecture(encoder, population, (str(name), same), view))
    return pd.concat(kept, ignore_index=True), torch.cat(vectors)


def _read_architecture(
    encoder: Encoder, population: Population, given: tuple[str, pd.DataFrame], view: View
) -> Iterator[Tensor]:
    name, rows = given
    text = population.program(name)
    assert text is not None
    program = Program.from_json(text)
    graph, shape = trace_program(program), input_shape(program)
    widening = widen(graph, view.factor) if view.factor > 1 else None
    plan = compile_plan(graph if widening is None else widening.graph)
    module = population.module(name).eval().to(view.device)
    stack = {n: t.float().to(view.device) if t.is_floating_point() else t for n, t in population.stack(rows).items()}
    step = max(1, TOGETHER // max(1, sum(t[0].numel() for t in stack.values()) * view.factor**2))
    generator = Generator(view.device).manual_seed(0)
    for start in range(0, len(rows), step):
        weights, answers = {n: t[start : start + step] for n, t in stack.items()}, None
        if view.run and shape is not None:
            answers = run_networks(module, weights, encoder.network.probes(shape))
        if widening is not None:
            weights = widening(weights, generator if view.uneven else None)
        yield encoder.network(plan, weights, answers).vector.cpu()
