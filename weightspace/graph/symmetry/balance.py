"""One scale of the hidden units for all rescalings of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Leaf, ParameterGraph
from weightspace.graph.layout import digits_of
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.orders import parent_sizes
from weightspace.graph.symmetry.rescale import powers_along, rescale, scalable
from weightspace.graph.symmetry.units import Places

SWEEPS, SETTLED = 1000, 1e-9
"""Rounds over the axes at most, and the logarithm of a factor that no longer counts."""


@dataclass(frozen=True, eq=False)
class _Share:
    """Where the units of one axis meet one tensor.

    Args:
        tensor: Its name.
        units: Number of the unit at each place, of a shape that broadcasts to the tensor's.
        powers: To which its factor reaches the place, 1 or -1; 0 where none does.
    """

    tensor: str
    units: np.ndarray
    powers: np.ndarray


def balance(checkpoint: Checkpoint, graph: ParameterGraph) -> Checkpoint:
    """Rescale units until what makes each of them is as large as what reads it; the function stays.

    Of all networks that positive factors make of each other (see `rescale`) the result has the least sum of squared
    weights, and it is the same for all of them up to rounding: for factors `c` of the units, writers `w` and readers
    `r`, `sum c^2 |w|^2 + |r|^2 / c^2` is least where both parts are equal, unit by unit, and as a function of the
    logarithms of all factors it is convex. Axes whose factors reach a tensor in two dimensions or in other powers than
    1 and -1 stay as they are, and so do units that nothing makes or nothing reads.

    Args:
        checkpoint: The weights.
        graph: Traced; one that comes from names alone shows no activation, so nothing can be rescaled.

    Raises:
        GraphError: The graph does not fit the checkpoint.

    Source:
        Neyshabur et al. (2015), "Path-SGD", section 2 (balanced networks); Du, Hu, Lee (2018), "Algorithmic
        regularization in learning deep homogeneous models", on why training keeps networks near to balance.
    """
    blocks = fit_blocks(checkpoint, graph)
    squares = {name: checkpoint.tensors[name].double().numpy() ** 2 for name in blocks}
    kinds = scalable(graph) if graph.source == "trace" else {}
    shares = {axis: found for axis in kinds if kinds[axis] != "sign" and (found := _shares(graph, axis))}
    logs = {axis: np.zeros((*parent_sizes(graph, axis), graph.axes[axis].size)) for axis in shares}
    for _ in range(SWEEPS):
        moved = [_settle(squares, found, logs[axis]) for axis, found in shares.items()]
        if max(moved, default=0.0) < SETTLED:
            break
    return rescale(checkpoint, graph, {axis: np.exp(log) for axis, log in logs.items()})


def _settle(squares: dict[str, np.ndarray], shares: list[_Share], logs: np.ndarray) -> float:
    """Balance the units of one axis; return the largest logarithm of a factor."""
    sums = {power: np.zeros(logs.size) for power in (1, -1)}
    for share in shares:
        shape = np.broadcast_shapes(share.units.shape, share.powers.shape)
        square = squares[share.tensor]
        rest = tuple(d for d, n in enumerate(shape) if n == 1)
        total, units = square.sum(rest, keepdims=True), np.broadcast_to(share.units, shape)
        for power, sizes in sums.items():
            here = np.broadcast_to(share.powers == power, shape)
            sizes += np.bincount(units[here], total[here], logs.size)
    there = (sums[1] > 0) & (sums[-1] > 0)
    change = np.zeros(logs.size)
    change[there] = np.log(sums[-1][there] / sums[1][there]) / 4
    for share in shares:
        squares[share.tensor] = squares[share.tensor] * np.exp(2 * share.powers * change[share.units])
    logs += change.reshape(logs.shape)
    return float(abs(change).max())


def _shares(graph: ParameterGraph, axis: str) -> list[_Share]:
    """Where the units of an axis meet tensors; nothing if they do so in a way that is not balanced here."""
    numbers = np.arange(graph.count(axis)).reshape(*parent_sizes(graph, axis), graph.axes[axis].size)
    found = []
    for tensor, rows in graph.scalings[axis]["positive"].powers.items():
        dims = [d for d, row in enumerate(rows) if any(row)]
        if len(dims) != 1 or any(power not in (-1, 0, 1) for power in rows[dims[0]]):
            return []
        try:
            found.append(_share(Places.of(graph, graph.blocks[tensor]), axis, dims[0], (numbers, rows[dims[0]])))
        except GraphError:  # one copy for all units of a parent
            return []
    return found


def _share(layout: Places, axis: str, d: int, given: tuple[np.ndarray, tuple[float, ...]]) -> _Share:
    numbers, row = given
    powers = powers_along(layout.graph, layout.block.dims[d], axis, row).copy()
    pieces = []
    for segment in layout.segments[d]:
        piece, met = layout.along(np.zeros(len(segment.positions), np.int64), d), False
        digits = digits_of([layout.graph.length(factor) for factor in segment.factors])
        for factor, digit in zip(segment.factors, digits, strict=True):
            if factor == Leaf(axis):
                piece, met = layout.of_units(d, segment, axis, numbers, digit), True
        if not met:
            powers[segment.positions] = 0
        pieces.append(piece)
    return _Share(layout.block.tensor, layout.fill(d, pieces), layout.along(powers, d))
