"""What a latent is decoded into: a graph without weights, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from weightspace.encode.plan import Edge, Plan, compile_plan
from weightspace.graph.axes import ParameterGraph


@dataclass(frozen=True, eq=False)
class Target:
    """An architecture to decode into.

    Args:
        plan: Its units and blocks.
        shapes: Of its tensors, as they are stored.
    """

    plan: Plan
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, graph: ParameterGraph) -> Target:
        """Return the target that a graph is."""
        shapes = {name: tuple(map(graph.length, block.dims)) for name, block in graph.blocks.items()}
        return cls(compile_plan(graph), shapes)

    @cached_property
    def places(self) -> dict[str, float]:
        """Where in the depth each axis is written first, 0 for the inputs to 1."""
        count, found = len(self.plan.stages), dict.fromkeys(self.plan.axes, 0.0)
        for number, stage in reversed(list(enumerate(self.plan.stages))):
            for edge in stage.edges:
                for name in edge.target.axes if edge.between and edge.target else ():
                    found[name] = (number + 1) / count
        return found

    def stored(self, edge: Edge, matrix: Tensor) -> Tensor:
        """Return a block's `(models, outs, ins, taps)` in the shape and order in which it is stored."""
        lengths = self.shapes[edge.tensor]
        ordered = matrix.reshape(len(matrix), *(lengths[d] for d in edge.order))
        return ordered.permute(0, *(1 + edge.order.index(d) for d in range(len(lengths))))
