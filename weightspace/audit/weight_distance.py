"""How far the weights of networks lie apart, whatever their hidden units are called and however they are scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.align import align
from weightspace.inspect.balance import balance_of

NEAREST = 1
"""Networks that are matched unit by unit to each: so many nearest as they are stored, and by their sorted weights."""


@dataclass(frozen=True, eq=False)
class Settled:
    """Networks of one architecture, each unit at the scale at which it writes as much as it reads.

    Args:
        graph: Of the architecture, traced.
        shapes: Of the tensors that count, by name.
        rows: Their weights, one after the other.
    """

    graph: ParameterGraph
    shapes: Mapping[str, tuple[int, ...]]
    rows: Float[np.ndarray, "models weights"]

    @classmethod
    def of(cls, stacked: Mapping[str, Tensor], graph: ParameterGraph) -> Settled:
        """Return a stack of networks without what can be rescaled for free; running statistics do not count."""
        names = [n for n in stacked if n in graph.blocks and not graph.blocks[n].kind.startswith("running")]
        rows = torch.cat([stacked[name].cpu().double().flatten(1) for name in names], 1).numpy()
        example = Checkpoint({name: tensor[0].cpu() for name, tensor in stacked.items()}, {})
        balance = balance_of(graph, example, tuple(names))
        return cls(graph, {name: tuple(stacked[name].shape[1:]) for name in names}, balance.settle(rows))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ranked(self) -> Float[np.ndarray, "models weights"]:
        """The weights of each tensor in rising order: the same for all relabellings."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        return np.concatenate([np.sort(part, 1) for part in np.split(self.rows, np.cumsum(sizes)[:-1], 1)], 1)

    def checkpoint(self, row: int) -> Checkpoint:
        """Return one network."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        parts = torch.from_numpy(self.rows[row].copy()).split(sizes)
        return Checkpoint({n: p.view(s) for (n, s), p in zip(self.shapes.items(), parts, strict=True)}, {})


def nearest_weights(
    mine: Settled,
    theirs: Settled,
    apart: Bool[np.ndarray, "models others"] | None = None,
    *,
    within: Float[np.ndarray, " models"] | None = None,
) -> Float[np.ndarray, " models"]:
    """Return the distance of each network to the nearest of others, up to relabelling and rescaling of hidden units.

    The few that are nearest as they are stored, and by their sorted weights, are matched unit by unit, pair by pair. So
    the distance can be too large where another would have matched better, never too small; it is 0 to a relabelling.
    Sorted weights are never farther apart than matched ones, which spares most matchings. The sign that passes a tanh
    is not settled.

    Args:
        mine: The networks in question.
        theirs: Those they may be near to, of the same architecture.
        apart: Which pairs count: not those of one run. All by default.
        within: Distances beyond which nothing is looked for.

    Returns:
        Distances by the length of the network in question; infinite where there is none to compare with.
    """
    found = np.full(len(mine), np.inf) if within is None else within.astype(np.float64)
    stored, bound = (_distances(a, b) for a, b in ((mine.rows, theirs.rows), (mine.ranked, theirs.ranked)))
    for i, length in enumerate(np.maximum(np.linalg.norm(mine.rows, axis=1), 1e-12)):
        allowed = np.ones(len(theirs), bool) if apart is None else apart[i]
        picked = [np.where(allowed, off[i], np.inf).argsort(kind="stable")[:NEAREST] for off in (stored, bound)]
        for other in dict.fromkeys(np.concatenate(picked).tolist()):
            if allowed[other] and bound[i, other] / length < found[i] + 1e-6:
                found[i] = min(found[i], _matched(mine.checkpoint(i), theirs.checkpoint(other), mine.graph) / length)
    return found


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def _matched(a: Checkpoint, b: Checkpoint, graph: ParameterGraph) -> float:
    moved = align(a, b, graph, generator=Generator().manual_seed(0))
    return float(sum(float((moved.tensors[n] - t).square().sum()) for n, t in b.tensors.items()) ** 0.5)
