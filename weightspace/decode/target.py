"""What a latent is decoded into: a graph without weights, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log2, prod

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.encode.answers import input_shape
from weightspace.encode.plan import Edge, Plan, compile_plan
from weightspace.encode.states import ROLES
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program
from weightspace.nn.cosines import depth_cosines, grid_cosines

CODES, SIZES = 64, 4
"""Numbers that tell a unit's index, a block's sizes."""


@dataclass(frozen=True, eq=False)
class Target:
    """An architecture to decode into.

    Args:
        plan: Its units and blocks.
        shapes: Of its tensors, as they are stored.
        inputs: Shape of one input where it is known: where inputs are flattened, their units are places on its grid.
    """

    plan: Plan
    shapes: Mapping[str, tuple[int, ...]]
    inputs: tuple[int, ...] = ()

    @classmethod
    def of(cls, architecture: Program | ParameterGraph) -> Target:
        """Return the target that an architecture is; only a program tells the grid of its inputs."""
        inputs: tuple[int, ...] = ()
        if isinstance(architecture, Program):
            inputs, architecture = input_shape(architecture) or (), trace_program(architecture)
        lengths = architecture.length
        shapes = {name: tuple(map(lengths, block.dims)) for name, block in architecture.blocks.items()}
        return cls(compile_plan(architecture), shapes, inputs)

    @cached_property
    def places(self) -> dict[str, float]:
        """Where in the depth each axis is written first, 0 for the inputs to 1."""
        count, found = len(self.plan.stages), dict.fromkeys(self.plan.axes, 0.0)
        for number, stage in reversed(list(enumerate(self.plan.stages))):
            for edge in stage.edges:
                for name in edge.target.axes if edge.between and edge.target else ():
                    found[name] = (number + 1) / count
        return found

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Where the units of each axis stand in a list of all units."""
        found, start = {}, 0
        for name, count in self.plan.counts.items():
            found[name] = slice(start, start + count)
            start += count
        return found

    @cached_property
    def codes(self) -> dict[str, Float[Tensor, "units codes"]]:
        """Cosines of each unit's place among its axis, or on the grid of the inputs."""
        return {name: self._codes(name, count) for name, count in self.plan.counts.items()}

    def _codes(self, name: str, count: int) -> Tensor:
        grid = self._on_grid(name)
        return grid_cosines(self.inputs, CODES) if grid else depth_cosines(count, CODES)

    def _on_grid(self, name: str) -> bool:
        pixels = prod(self.inputs[1:])
        whole = self.plan.counts[name] == prod(self.inputs)
        return len(self.inputs) > 1 and pixels > 1 and whole and self.plan.axes[name].role == "input"

    @cached_property
    def unit_codes(self) -> Float[Tensor, "units codes_twice"]:
        """Codes of all units; those on a grid have columns of their own."""
        rows = []
        for name, codes in self.codes.items():
            nothing = torch.zeros_like(codes)
            rows.append(torch.cat([nothing, codes] if self._on_grid(name) else [codes, nothing], 1))
        return torch.cat(rows)

    @cached_property
    def axis_roles(self) -> Float[Tensor, "axes roles"]:
        """Role of each axis as one of `ROLES`."""
        roles = torch.tensor([ROLES.index(axis.role) for axis in self.plan.axes.values()])
        return torch.nn.functional.one_hot(roles, len(ROLES)).double()

    @cached_property
    def axis_sizes(self) -> Float[Tensor, "axes one"]:
        """Logarithm of the units of each axis."""
        return torch.tensor([[log2(1 + count) / 4] for count in self.plan.counts.values()], dtype=torch.float64)

    @cached_property
    def axis_places(self) -> Float[Tensor, " axes"]:
        """Places of the axes in the depth."""
        return torch.tensor([self.places[name] for name in self.plan.axes], dtype=torch.float64)

    @cached_property
    def edge_places(self) -> Float[Tensor, " edges"]:
        """Place of the stage of each block in the depth."""
        last = max(1, len(self.plan.stages) - 1)
        places = [number / last for number, stage in enumerate(self.plan.stages) for _ in stage.edges]
        return torch.tensor(places, dtype=torch.float64)

    @cached_property
    def edge_sizes(self) -> Float[Tensor, "edges sizes"]:
        """Logarithms of each block's sizes."""
        sizes = [[log2(n) / 4 for n in (*edge.sizes, prod(edge.sizes))] for edge in self.plan.edges]
        return torch.tensor(sizes, dtype=torch.float64)

    @cached_property
    def edge_words(self) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
        """Kind of each block, and operations of its stage."""
        kinds = tuple((edge.kind,) for edge in self.plan.edges)
        return kinds, tuple(stage.ops for stage in self.plan.stages for _ in stage.edges)

    def stored(self, edge: Edge, matrix: Tensor) -> Tensor:
        """Return a block's `(models, outs, ins, taps)` in the shape and order in which it is stored."""
        lengths = self.shapes[edge.tensor]
        ordered = matrix.reshape(len(matrix), *(lengths[d] for d in edge.order))
        return ordered.permute(0, *(1 + edge.order.index(d) for d in range(len(lengths))))
