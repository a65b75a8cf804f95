"""Permuting hidden units: another labelling of the same network."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import Block, Leaf, ParameterGraph, leaves
from weightspace.graph.layout import Segment, digits_of
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.orders import Permutations, full_orders
from weightspace.graph.symmetry.units import Places

Place = tuple[str, int]


def relabel(checkpoint: Checkpoint, graph: ParameterGraph, permutations: Permutations) -> Checkpoint:
    """Reorder hidden units; the network computes the same function.

    Unit `i` of the result is unit `order[i]` of the input. A child axis is permuted by one order for all units of its
    parent, or by one for each *new* parent unit.

    Args:
        checkpoint: The weights.
        graph: Of this checkpoint.
        permutations: By axis name; of shape `(size,)` or `(*parent sizes, size)`. Axes not named stay.

    Raises:
        GraphError: The graph does not fit the checkpoint; an axis is unknown or not hidden; an order is not a
            permutation.

    Source:
        Hecht-Nielsen (1990), "On the algebraic structure of feedforward network weight spaces".

    Example:
        >>> from weightspace.graph.axes import Axis
        >>> axes = {"x": Axis("x", 1, "input"), "h": Axis("h", 2, "hidden")}
        >>> block = Block("w", "linear", (Leaf("h"), Leaf("x")), "oi", 2)
        >>> checkpoint = Checkpoint({"w": torch.tensor([[3.0], [5.0]])})
        >>> relabel(checkpoint, ParameterGraph(axes, {"w": block}, (), "infer"), {"h": [1, 0]}).tensors["w"].tolist()
        [[5.0], [3.0]]
    """
    return _relabelled(checkpoint, graph, permutations, None)


def relabel_only(
    checkpoint: Checkpoint, graph: ParameterGraph, permutations: Permutations, places: Collection[Place]
) -> Checkpoint:
    """Reorder only the named dimensions `(tensor, dimension)`: what `relabel` must never do by mistake.

    Breaks the ties between the tensors of an axis, so it shows that a law can fail; see `places`.
    """
    return _relabelled(checkpoint, graph, permutations, frozenset(places))


def places(graph: ParameterGraph, axis: str) -> tuple[Place, ...]:
    """Return every dimension `(tensor, dimension)` that the units of `axis` sit on."""
    return tuple(
        (block.tensor, d)
        for block in graph.blocks.values()
        for d, term in enumerate(block.dims)
        if any(leaf.axis == axis for leaf in leaves(term))
    )


def _relabelled(
    checkpoint: Checkpoint, graph: ParameterGraph, permutations: Permutations, only: Collection[Place] | None
) -> Checkpoint:
    orders = full_orders(graph, permutations)
    tensors = dict(checkpoint.tensors)
    for name, block in fit_blocks(checkpoint, graph).items():
        if orders.keys() & set(block.axes):
            sources = dimension_sources(graph, block, orders)
            chosen = [s if only is None or (block.tensor, d) in only else None for d, s in enumerate(sources)]
            tensors[name] = gather(tensors[name], chosen)
    return replace(checkpoint, tensors=tensors)


def dimension_sources(graph: ParameterGraph, block: Block, orders: dict[str, np.ndarray]) -> list[np.ndarray | None]:
    """Return, for each dimension, which old position each new position is taken from; None where nothing moves.

    An array has the rank of the tensor, and length 1 along all dimensions but its own and those that hold a parent
    of its axes (grouped convolution: `[Prod[G, o], i]`, where `i` lives in each `G`).
    """
    layout = Places.of(graph, block)
    return [
        layout.fill(d, [_old_positions(layout, orders, d, segment) for segment in layout.segments[d]])
        if any(leaf.axis in orders for leaf in leaves(term))
        else None
        for d, term in enumerate(block.dims)
    ]


def _old_positions(layout: Places, orders: dict[str, np.ndarray], d: int, segment: Segment) -> np.ndarray:
    """Position before relabelling of each position of a segment of dimension `d`."""
    radices = [layout.graph.length(factor) for factor in segment.factors]
    index = layout.along(np.zeros(1, np.int64), d)
    for factor, radix, digit in zip(segment.factors, radices, digits_of(radices), strict=True):
        if isinstance(factor, Leaf) and factor.axis in orders:
            old = layout.of_units(d, segment, factor.axis, orders[factor.axis], digit)
        else:
            old = layout.along(digit, d)
        index = index * radix + old
    return segment.positions[index]


def gather(tensor: Tensor, sources: list[np.ndarray | None]) -> Tensor:
    """Take each dimension's positions from `sources` (see `dimension_sources`), for any dtype."""
    raw = tensor.view(torch.uint8) if tensor.itemsize == 1 else tensor
    moves = [(d, torch.from_numpy(source)) for d, source in enumerate(sources) if source is not None]
    if all(source.numel() == tensor.shape[d] for d, source in moves):
        for d, source in moves:
            raw = raw.index_select(d, source.flatten())
    else:
        shapes = [[n if e == d else 1 for e in range(tensor.ndim)] for d, n in enumerate(tensor.shape)]
        still = [torch.arange(n).reshape(shape) for n, shape in zip(tensor.shape, shapes, strict=True)]
        raw = raw[tuple(dict(moves).get(d, here) for d, here in enumerate(still))]
    return raw.view(tensor.dtype)
