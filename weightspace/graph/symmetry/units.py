"""Numbers given for each unit of an axis, laid along the dimensions of a tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightspace.errors import GraphError
from weightspace.graph.axes import Block, ParameterGraph
from weightspace.graph.layout import Segment, segments


@dataclass(frozen=True, eq=False)
class Places:
    """All dimensions of one block, in segments."""

    graph: ParameterGraph
    block: Block
    segments: tuple[list[Segment], ...]

    @classmethod
    def of(cls, graph: ParameterGraph, block: Block) -> Places:
        """Lay out every dimension of `block`."""
        return cls(graph, block, tuple(segments(graph, term) for term in block.dims))

    def along(self, values: np.ndarray, d: int) -> np.ndarray:
        """Reshape a vector so that it lies along dimension `d` of the tensor."""
        return values.reshape((1,) * d + (-1,) + (1,) * (len(self.segments) - d - 1))

    def fill(self, d: int, pieces: list[np.ndarray]) -> np.ndarray:
        """Put one array a segment, laid along dimension `d`, together to the whole dimension."""
        shape = list(np.broadcast_shapes(*((*p.shape[:d], 1, *p.shape[d + 1 :]) for p in pieces)))
        shape[d] = self.graph.length(self.block.dims[d])
        whole = np.empty(shape, pieces[0].dtype)
        for segment, piece in zip(self.segments[d], pieces, strict=True):
            whole[(slice(None),) * d + (segment.positions,)] = piece
        return whole

    def of_units(self, d: int, segment: Segment, axis: str, values: np.ndarray, digit: np.ndarray) -> np.ndarray:
        """Return the value of each position's unit of `axis`, laid along dimension `d`.

        Args:
            d: The dimension.
            segment: Of that dimension.
            axis: One of the axes of `segment`.
            values: Shape `(*parent sizes, size)`.
            digit: Index within `axis` of each position of the segment.

        Raises:
            GraphError: The values differ between the units of a parent that the tensor does not sit on.
        """
        line = self.graph.lineage(axis)[:-1]
        above = [self._parent(d, segment, name, values, k) for k, name in enumerate(line)]
        return values[(*above, self.along(digit, d))]

    def _parent(self, d: int, segment: Segment, name: str, values: np.ndarray, k: int) -> np.ndarray:
        """Unit of the parent that is dimension `k` of `values`: in the same segment, else in another dimension."""
        if name in segment.digits:
            return self.along(segment.digits[name], d)
        for e, others in enumerate(self.segments):
            if e != d and others and all(name in other.digits for other in others):
                unit = np.empty(sum(len(other.positions) for other in others), np.int64)
                for other in others:
                    unit[other.positions] = other.digits[name]
                return self.along(unit, e)
        if (values != values.take([0], axis=k)).any():
            raise GraphError(
                f"tensor {self.block.tensor!r} holds one copy of units that exist in each unit of {name!r}, so they "
                f"cannot change differently in each. Give the same for all units of {name!r}."
            )
        return self.along(np.zeros(1, np.int64), d)
