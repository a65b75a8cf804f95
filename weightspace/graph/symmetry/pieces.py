"""Blocks cut where their terms join, so that each factor of a term is a dimension of its own.

A fused query, key and value `Sum((Prod((heads, qk)), Prod((heads, qk)), Prod((heads, vo))))` over `res` becomes three
pieces: `(heads, qk, res)` twice and `(heads, vo, res)`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import Block, Leaf, ParameterGraph, Span
from weightspace.graph.layout import Segment, segments
from weightspace.graph.symmetry.fit import fit_blocks

Unit = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Piece:
    """One part of a tensor, with a dimension for each factor.

    Args:
        block: It is cut from.
        positions: Which positions of each stored dimension it takes.
        shape: Length of each factor.
        units: For each hidden axis that it sits on, as often as it does, the dimensions that together pick a unit:
            those of the parents, outermost first, then its own.
    """

    block: Block
    positions: tuple[np.ndarray, ...]
    shape: tuple[int, ...]
    units: tuple[Unit, ...]

    @cached_property
    def axes(self) -> frozenset[str]:
        """Names of the hidden axes it sits on."""
        return frozenset(axis for axis, _ in self.units)

    def of(self, stored: np.ndarray) -> np.ndarray:
        """Take this piece out of the whole tensor; dimensions behind the stored ones stay behind."""
        for d, positions in enumerate(self.positions):
            if not np.array_equal(positions, np.arange(stored.shape[d])):
                stored = stored.take(positions, axis=d)
        return stored.reshape(*self.shape, *stored.shape[len(self.positions) :])


@dataclass(frozen=True, eq=False)
class Cut:
    """A graph in pieces.

    Args:
        graph: That was cut.
        pieces: Those that sit on a hidden axis.
        above: By hidden axis, parents first: the parents, outermost first, in each of whose units the axis has an
            order of its own; fewer than all if a tensor holds one copy for all units of a parent.
    """

    graph: ParameterGraph
    pieces: tuple[Piece, ...]
    above: dict[str, tuple[str, ...]]

    def only(self, blocks: Collection[str]) -> Cut:
        """Keep the pieces of the blocks with these names."""
        return replace(self, pieces=tuple(piece for piece in self.pieces if piece.block.tensor in blocks))

    def shape(self, axis: str) -> tuple[int, ...]:
        """Shape of one number for each unit of `axis`."""
        return tuple(self.graph.axes[name].size for name in (*self.above[axis], axis))

    def full(self, axis: str, numbers: np.ndarray) -> np.ndarray:
        """Spread one number for each unit (see `shape`) to all parents, as permutations are given."""
        sizes = tuple(self.graph.axes[name].size for name in self.graph.lineage(axis))
        held = (*sizes[: len(self.above[axis])], *(1 for _ in sizes[len(self.above[axis]) : -1]), sizes[-1])
        return np.broadcast_to(numbers.reshape(held), sizes)


def cut(graph: ParameterGraph) -> Cut:
    """Cut every block of a graph that sits on a hidden axis."""
    hidden = [axis.name for axis in graph.axes.values() if axis.role == "hidden"]
    above = {name: graph.lineage(name)[:-1] for name in sorted(hidden, key=lambda n: len(graph.lineage(n)))}
    parts = [(block, part) for block in graph.blocks.values() if block.size for part in _parts(graph, block)]
    for _, part in parts:
        for k, factor in enumerate(part.factors):
            if isinstance(factor, Leaf) and factor.axis in above:
                line = above[factor.axis]
                found = [part.nearest(name, k) is not None for name in line]
                above[factor.axis] = line[: found.index(False)] if False in found else line
    return Cut(graph, tuple(_piece(graph, block, part, above) for block, part in parts if part.touches(above)), above)


def tensors_of(checkpoint: Checkpoint, graph: ParameterGraph) -> dict[str, Tensor]:
    """Return the tensor of each block, by the block's name; of two names of one tensor, that of the stored one."""
    return {block.tensor: checkpoint.tensors[name] for name, block in fit_blocks(checkpoint, graph).items()}


def lay(numbers: np.ndarray, dims: tuple[int, ...], ndim: int) -> np.ndarray:
    """Lay dimension `k` of `numbers` along dimension `dims[k]` of `ndim`, to broadcast along the others.

    Example:
        >>> lay(np.zeros((2, 3)), (3, 1), 4).shape
        (1, 3, 1, 2)
    """
    shape = [1] * ndim
    for d, size in zip(dims, numbers.shape, strict=True):
        shape[d] = size
    return numbers.transpose(np.argsort(dims)).reshape(shape)


@dataclass(frozen=True, eq=False)
class _Part:
    """One segment of each stored dimension; `homes` says which stored dimension each factor is from."""

    segments: tuple[Segment, ...]
    homes: tuple[int, ...]

    @property
    def factors(self) -> list[Leaf | Span]:
        return [factor for segment in self.segments for factor in segment.factors]

    def nearest(self, axis: str, k: int) -> int | None:
        """Which factor runs over `axis`: in the stored dimension of factor `k` if it is there, else in another."""
        found = [n for n, f in enumerate(self.factors) if n != k and f == Leaf(axis)]
        return next((n for n in found if self.homes[n] == self.homes[k]), found[0] if found else None)

    def touches(self, axes: dict[str, tuple[str, ...]]) -> bool:
        return any(isinstance(factor, Leaf) and factor.axis in axes for factor in self.factors)


def _parts(graph: ParameterGraph, block: Block) -> Iterator[_Part]:
    for chosen in product(*(segments(graph, term) for term in block.dims)):
        yield _Part(chosen, tuple(d for d, segment in enumerate(chosen) for _ in segment.factors))


def _piece(graph: ParameterGraph, block: Block, part: _Part, above: dict[str, tuple[str, ...]]) -> Piece:
    units = []
    for k, factor in enumerate(part.factors):
        if isinstance(factor, Leaf) and factor.axis in above:
            parents = [part.nearest(name, k) for name in above[factor.axis]]
            units.append((factor.axis, (*(n for n in parents if n is not None), k)))
    shape = tuple(map(graph.length, part.factors))
    return Piece(block, tuple(s.positions for s in part.segments), shape, tuple(units))
