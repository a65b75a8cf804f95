"""What both sides know without a byte: names, shapes and written units of the tensors, from the graph."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from jaxtyping import Shaped

from weightspace.graph.axes import Block, ParameterGraph

Matrices = Mapping[str, np.ndarray]
"""By tensor name, `(rows, columns)` float32 or float64: a row a written unit."""


@dataclass(frozen=True)
class Place:
    """One tensor.

    Args:
        name: Of the tensor.
        kind: Of its block.
        shape: As it is stored.
        rows: Dimensions of the units it writes; none where it is a vector, which is one row.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows and columns of its matrix."""
        rows = prod(self.shape[d] for d in self.rows)
        return rows, prod(self.shape) // max(rows, 1)

    @property
    def is_vector(self) -> bool:
        """Whether it holds one number a unit, as biases and norms do."""
        return not self.rows

    def matrix(self, stored: Shaped[np.ndarray, ...]) -> Shaped[np.ndarray, "rows columns"]:
        """Return a tensor as it is stored as a matrix."""
        return stored.transpose(self._order).reshape(self.sizes)

    def stored(self, matrix: Shaped[np.ndarray, "rows columns"]) -> Shaped[np.ndarray, ...]:
        """Return a matrix as the tensor is stored, the inverse of `matrix`."""
        ordered = matrix.reshape([self.shape[d] for d in self._order])
        return ordered.transpose(np.argsort(np.array(self._order, np.int64)))

    @property
    def _order(self) -> tuple[int, ...]:
        return (*self.rows, *(d for d in range(len(self.shape)) if d not in self.rows))


@dataclass(frozen=True)
class Layout:
    """All tensors of a graph, by name."""

    places: tuple[Place, ...]

    @classmethod
    def of(cls, graph: ParameterGraph) -> Layout:
        """Return the layout of a graph's blocks."""
        return cls(tuple(_place(graph, graph.blocks[name]) for name in sorted(graph.blocks)))

    @cached_property
    def fingerprint(self) -> int:
        """Sixteen bits that tell one layout from another."""
        return crc_hqx(repr([(p.name, p.shape, p.rows) for p in self.places]).encode(), 0xFFFF)

    @cached_property
    def weights(self) -> int:
        """Numbers in all tensors."""
        return sum(prod(place.shape) for place in self.places)


def _place(graph: ParameterGraph, block: Block) -> Place:
    shape = tuple(map(graph.length, block.dims))
    rows = tuple(d for d, letter in enumerate(block.view) if letter == "o")
    if prod(shape[d] for d in rows) in (1, prod(shape)):
        rows = ()
    return Place(block.tensor, block.kind, shape, rows)
