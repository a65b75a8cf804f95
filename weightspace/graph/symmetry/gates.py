"""A gate on each hidden unit: what its weights are multiplied by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.graph.axes import ParameterGraph
from weightspace.graph.layout import Side, dimension_roles, segments


@dataclass(frozen=True, eq=False)
class Gates:
    """Where the weights of each hidden unit lie, on one side of it.

    Args:
        units: Axis and number of each unit (counted over the whole network, parents major), in the order of the gates.
        places: Tensor, stored dimension, and the gate of each of its positions; -1 where there is none.
    """

    units: tuple[tuple[str, int], ...]
    places: tuple[tuple[str, int, Tensor], ...]

    @classmethod
    def of(cls, graph: ParameterGraph, side: Side) -> Gates:
        """Return the gates of all hidden units that some weight reads, or writes.

        A unit that lives in each unit of a parent has none where a tensor names the parent in another dimension.

        Args:
            graph: Of the network.
            side: `READ` for outgoing weights: a gate of zero takes the unit out of the network. `WRITTEN` for incoming
                ones, biases and norms.
        """
        raw = [
            (name, d, [s for s in segments(graph, block.dims[d]) if _is_whole(graph, s.axis, s.digits)])
            for name, block in graph.blocks.items()
            for d in dimension_roles(graph, block)[side.value]
        ]
        axes = dict.fromkeys(str(segment.axis) for _, _, found in raw for segment in found)
        units = tuple((axis, unit) for axis in axes for unit in range(graph.count(axis)))
        first = {axis: units.index((axis, 0)) for axis in axes}
        places = []
        for name, d, found in raw:
            index = torch.full((graph.length(graph.blocks[name].dims[d]),), -1)
            for segment in found:
                index[torch.from_numpy(segment.positions)] = first[str(segment.axis)] + torch.from_numpy(segment.units)
            places += [(name, d, index)] if found else []
        return cls(units, tuple(places))

    def apply(self, weights: Mapping[str, Tensor], gates: Float[Tensor, "models units"]) -> dict[str, Tensor]:
        """Return `(models, *shape)` by tensor: each network with its weights times its gates.

        Args:
            weights: `(models, *shape)` by tensor, or `(1, *shape)` of one network to be seen with many gates.
            gates: One row a network.
        """
        whole = torch.cat([gates, gates.new_ones(len(gates), 1)], 1)
        found = {name: tensor.expand(len(gates), *tensor.shape[1:]) for name, tensor in weights.items()}
        for name, d, index in self.places:
            shape = [len(gates), *(n if e == d else 1 for e, n in enumerate(weights[name].shape[1:]))]
            found[name] = found[name] * whole[:, index.to(gates.device)].reshape(shape)
        return found

    def collect(self, parts: Mapping[str, Tensor]) -> Float[Tensor, " units"]:
        """Return, for each unit, the sum of what stands at its weights; tensors without parts count as zeros."""
        total = next(iter(parts.values())).new_zeros(len(self.units) + 1)
        for name, d, index in self.places:
            if name not in parts:
                continue
            rows = parts[name].movedim(d, 0).reshape(len(index), -1).sum(1)
            total.index_add_(0, torch.where(index < 0, len(self.units), index), rows)
        return total[:-1]


def _is_whole(graph: ParameterGraph, axis: str | None, named: Mapping[str, object]) -> bool:
    return axis is not None and graph.axes[axis].role == "hidden" and set(graph.lineage(axis)) <= named.keys()
