"""Permuting hidden units: another labelling of the same network."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Block, Leaf, ParameterGraph, leaves
from weightspace.graph.layout import Segment, segments
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.orders import Permutations, full_orders

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
    parts = [segments(graph, term) for term in block.dims]
    return [_source(graph, block, orders, parts, d) for d in range(len(parts))]


def _source(
    graph: ParameterGraph, block: Block, orders: dict[str, np.ndarray], parts: list[list[Segment]], d: int
) -> np.ndarray | None:
    if not any(leaf.axis in orders for leaf in leaves(block.dims[d])):
        return None
    pieces = [(segment, _old_positions(graph, block, orders, parts, (d, segment))) for segment in parts[d]]
    shape = list(np.broadcast_shapes(*(_without(piece.shape, d) for _, piece in pieces)))
    shape[d] = graph.length(block.dims[d])
    source = np.empty(shape, np.int64)
    for segment, piece in pieces:
        source[(slice(None),) * d + (segment.positions,)] = piece
    return source


def _without(shape: tuple[int, ...], d: int) -> tuple[int, ...]:
    return (*shape[:d], 1, *shape[d + 1 :])


def _old_positions(
    graph: ParameterGraph,
    block: Block,
    orders: dict[str, np.ndarray],
    parts: list[list[Segment]],
    where: tuple[int, Segment],
) -> np.ndarray:
    """Position before relabelling of each position of a segment of dimension `where[0]`."""
    d, segment = where
    radices = [graph.length(factor) for factor in segment.factors]
    index = np.zeros((1,) * len(parts), np.int64)
    for factor, digit, radix in zip(segment.factors, _digits(radices), radices, strict=True):
        old = _along(digit, d, len(parts))
        if isinstance(factor, Leaf) and factor.axis in orders:
            order, line = orders[factor.axis], graph.lineage(factor.axis)[:-1]
            above = [_parent(block, parts, where, (name, order, k)) for k, name in enumerate(line)]
            old = order[(*above, old)]
        index = index * radix + old
    return segment.positions[index]


def _digits(radices: list[int]) -> tuple[np.ndarray, ...]:
    return np.unravel_index(np.arange(int(np.prod(radices))), radices) if radices else ()


def _parent(
    block: Block, parts: list[list[Segment]], where: tuple[int, Segment], which: tuple[str, np.ndarray, int]
) -> np.ndarray:
    """Unit of the parent that is dimension `which[2]` of an order: in the same segment, else in another dimension."""
    (d, segment), (name, order, k) = where, which
    if name in segment.digits:
        return _along(segment.digits[name], d, len(parts))
    for e, others in enumerate(parts):
        if e != d and others and all(name in other.digits for other in others):
            unit = np.empty(sum(len(other.positions) for other in others), np.int64)
            for other in others:
                unit[other.positions] = other.digits[name]
            return _along(unit, e, len(parts))
    if (order != order.take([0], axis=k)).any():
        raise GraphError(
            f"tensor {block.tensor!r} holds one copy of units that exist in each unit of {name!r}, so they cannot move "
            f"differently in each. Give one permutation for all units of {name!r}."
        )
    return np.zeros((1,) * len(parts), np.int64)


def _along(values: np.ndarray, d: int, rank: int) -> np.ndarray:
    return values.reshape((1,) * d + (-1,) + (1,) * (rank - d - 1))


def gather(tensor: Tensor, sources: list[np.ndarray | None]) -> Tensor:
    """Take each dimension's positions from `sources` (see `dimension_sources`), for any dtype."""
    raw = tensor.view(torch.uint8) if tensor.itemsize == 1 else tensor
    moves = [(d, torch.from_numpy(source)) for d, source in enumerate(sources) if source is not None]
    if all(source.numel() == tensor.shape[d] for d, source in moves):
        for d, source in moves:
            raw = raw.index_select(d, source.flatten())
    else:
        still = [torch.from_numpy(_along(np.arange(n), d, tensor.ndim)) for d, n in enumerate(tensor.shape)]
        raw = raw[tuple(dict(moves).get(d, here) for d, here in enumerate(still))]
    return raw.view(tensor.dtype)
