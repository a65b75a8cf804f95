"""Wider networks of the same function: every hidden unit several times, its outgoing weights split among the copies.

Source: Chen, Goodfellow, Shlens (2016), "Net2Net: accelerating learning via knowledge transfer", section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Generator, Tensor

from weightspace.errors import GraphError
from weightspace.graph.axes import Leaf, ParameterGraph, Term, leaves
from weightspace.graph.layout import Segment, dimension_roles, segments

PASSED = {
    "add",
    "average_pool",
    "batch_norm",
    "bias",
    "cat",
    "conv",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "hardswish",
    "leaky_relu",
    "linear",
    "max_pool",
    "mean",
    "norm",
    "relu",
    "relu6",
    "reshape",
    "selu",
    "sigmoid",
    "silu",
    "sin",
    "softplus",
    "tanh",
}
"""Operations that give copies of a unit copies of its answer."""


@dataclass(frozen=True, eq=False)
class Widening:
    """How checkpoints of a graph are widened.

    Args:
        graph: Of the wider networks.
        sources: For each tensor, and each of its dimensions, the old position of each new one; None for the same.
        split: The dimension of each tensor along which weights are split among copies; missing where there is none.
    """

    graph: ParameterGraph
    sources: Mapping[str, tuple[Tensor | None, ...]]
    split: Mapping[str, int]

    def __call__(self, tensors: Mapping[str, Tensor], generator: Generator | None = None) -> dict[str, Tensor]:
        """Return stacked tensors `(models, *stored)` of the wider networks.

        Args:
            tensors: By name; those of no block are left out.
            generator: Draws an uneven share of each weight for each copy; None splits evenly.
        """
        return {name: self._widened(name, tensors[name], generator) for name in self.sources}

    def _widened(self, name: str, tensor: Tensor, generator: Generator | None) -> Tensor:
        found = tensor
        for d, source in enumerate(self.sources[name], start=1):
            if source is not None:
                found = found.index_select(d, source.to(found.device))
        if name not in self.split:
            return found
        d = self.split[name]
        source = self.sources[name][d]
        assert source is not None
        return found * _shares(found, d + 1, source.to(found.device), generator)


def _shares(like: Tensor, dim: int, source: Tensor, generator: Generator | None) -> Tensor:
    """Positive shares of the copies, adding up to one among the positions of one source."""
    if generator is None:
        counts = torch.bincount(source)[source].to(like.dtype)
        return (1 / counts).view(-1, *[1] * (like.ndim - dim - 1))
    drawn = torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype).exp()
    sizes = list(like.shape)
    sizes[dim] = int(source.max()) + 1
    total = torch.zeros(sizes, dtype=like.dtype, device=like.device).index_add_(dim, source, drawn)
    return drawn / total.index_select(dim, source)


def widen(graph: ParameterGraph, factor: int) -> Widening:
    """Return how checkpoints of a graph are widened by a whole factor on every hidden axis that stands alone.

    Raises:
        GraphError: An operation may tell copies apart (attention, recurrence), or no axis can be widened.

    Example:
        >>> from weightspace.graph.axes import Axis, Block, Stage
        >>> axes = {"x": Axis("x", 2, "input"), "h": Axis("h", 3, "hidden"), "y": Axis("y", 1, "output")}
        >>> first = Block("a", "linear", (Leaf("h"), Leaf("x")), "oi", 6)
        >>> last = Block("b", "linear", (Leaf("y"), Leaf("h")), "oi", 3)
        >>> stages = (Stage("a", "linear", ("a",), ("relu",)), Stage("b", "linear", ("b",), ()))
        >>> wide = widen(ParameterGraph(axes, {"a": first, "b": last}, stages, "trace"), 2)
        >>> {n: tuple(t.shape) for n, t in wide({"a": torch.ones(1, 3, 2), "b": torch.ones(1, 1, 3)}).items()}
        {'a': (1, 6, 2), 'b': (1, 1, 6)}
    """
    strange = sorted({op for stage in graph.stages for op in (stage.op, *stage.after)} - PASSED)
    if strange:
        raise GraphError(f"copies of units need not answer alike after {', '.join(strange)}, so nothing is widened.")
    parents = {axis.parent for axis in graph.axes.values()}
    chosen = {n for n, a in graph.axes.items() if a.role == "hidden" and not a.parent and n not in parents}
    if not chosen:
        raise GraphError("the graph has no hidden axis that stands alone, so nothing is widened.")
    axes = {n: replace(a, size=a.size * factor) if n in chosen else a for n, a in graph.axes.items()}
    bare = ParameterGraph(axes, {}, (), graph.source)
    blocks = {n: replace(b, size=prod(map(bare.length, b.dims))) for n, b in graph.blocks.items()}
    wide = ParameterGraph(axes, blocks, graph.stages, graph.source)
    sources, split = dict[str, tuple[Tensor | None, ...]](), dict[str, int]()
    for name, block in graph.blocks.items():
        sources[name] = tuple(_sources(graph, wide, term, chosen, factor) for term in block.dims)
        _, ins, _ = dimension_roles(graph, block)
        read = [d for d in ins if sources[name][d] is not None]
        if len(read) > 1:
            raise GraphError(f"{name} reads widened units along {len(read)} dimensions, so nothing is widened.")
        if read:
            split[name] = read[0]
    return Widening(wide, sources, split)


def _sources(graph: ParameterGraph, wide: ParameterGraph, term: Term, chosen: set[str], factor: int) -> Tensor | None:
    """Old position of each new position of a dimension; None where it stays."""
    if not {leaf.axis for leaf in leaves(term)} & chosen:
        return None
    found = np.zeros(wide.length(term), np.int64)
    for old, new in zip(segments(graph, term), segments(wide, term), strict=True):
        digits = list(np.unravel_index(np.arange(len(new.positions)), _radices(wide, new)))
        for i, part in enumerate(new.factors):
            if isinstance(part, Leaf) and part.axis in chosen:
                digits[i] = digits[i] // factor
        found[new.positions] = old.positions[np.ravel_multi_index(digits, _radices(graph, old))]
    return torch.from_numpy(found)


def _radices(graph: ParameterGraph, segment: Segment) -> tuple[int, ...]:
    return tuple(graph.length(part) for part in segment.factors)
