"""The weights into or out of each unit, one row a unit."""

from __future__ import annotations

import numpy as np

from weightspace.graph.layout import Side, dimension_roles, segments
from weightspace.inspect.peers import Peers


def unit_weights(peers: Peers, row: np.ndarray, side: Side) -> dict[str, np.ndarray]:
    """Return `(units, weights)` for each axis; units are counted over the whole network, parents major.

    An input axis has no incoming weights and an output axis no outgoing ones. Where a block does not hold the same
    number of weights for each unit of an axis, it does not count.

    Args:
        peers: Which lay out the row.
        row: Of one network.
        side: Incoming weights with biases and norms, or outgoing ones.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for name, block in peers.blocks.items():
        tensor = row[peers.slices[name]].reshape(tuple(map(peers.graph.length, block.dims)))
        for d in dimension_roles(peers.graph, block)[side.value]:
            front = np.moveaxis(tensor, d, 0).reshape(tensor.shape[d], -1)
            for segment in segments(peers.graph, block.dims[d]):
                units = peers.graph.count(segment.axis) if segment.axis else 0
                order = np.lexsort((segment.slots, segment.units))
                if units and np.array_equal(np.unique(segment.units), np.arange(units)) and len(order) % units == 0:
                    parts.setdefault(str(segment.axis), []).append(front[segment.positions[order]].reshape(units, -1))
    return {axis: np.concatenate(found, axis=1) for axis, found in parts.items()}
