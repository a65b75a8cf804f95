"""A parameter graph compiled once into index tensors, so that a sweep is nothing but matrix products.

graph -> Plan: for each block the units on its two sides, its kernel taps, and where each position goes
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log2, prod

import numpy as np
import torch
from torch import Tensor

from weightspace.encode.sides import Grouping, Side, make_side
from weightspace.errors import GraphError
from weightspace.graph.axes import Axis, Block, ParameterGraph, Prod, Term
from weightspace.graph.layout import Segment, dimension_roles, segments

SIZES = 6


@dataclass(frozen=True, eq=False)
class Edge:
    """One block as a stack of matrices between two groups of units.

    Its tensor becomes `(groups, targets, sources, taps)`: permute by `order`, flatten to `(out, in, taps)`, and split
    the rows or the columns into groups where the units of a shared parent (groups of a grouped convolution) pair up.
    A block on one side only has no `source`; its `in` length is 1.

    Args:
        tensor: Name in the checkpoint.
        kind: The block's kind.
        order: Stored dimensions, output ones first, then input ones, then kernel ones.
        sizes: Numbers of outputs, inputs, taps.
        kernel: Sizes of the kernel dimensions; their product is `taps`.
        target: The units written.
        source: The units read; None for biases, norms, depthwise kernels.
        split: Which side carries the groups, if any, and its positions, `(groups, positions in a group)`.
    """

    tensor: str
    kind: str
    order: tuple[int, ...]
    sizes: tuple[int, int, int]
    kernel: tuple[int, ...]
    target: Side | None
    source: Side | None
    split: tuple[str, Tensor] | None = None

    @property
    def between(self) -> bool:
        """Whether it lies between units on two sides."""
        return self.source is not None and self.target is not None

    def ends(self, back: bool) -> tuple[Side, Side]:
        """Side that is read and side that is told, on the way ahead or back; the same if there is but one."""
        near, far = (self.target, self.source) if back else (self.source, self.target)
        near, far = near or far, far or near
        assert near is not None and far is not None, f"block {self.tensor} sits on no unit"
        return near, far


@dataclass(frozen=True)
class PlanStage:
    """A stage's name, its operations (`op` first, then what follows) and its edges in order."""

    name: str
    ops: tuple[str, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Plan:
    """All that a sweep needs to know of an architecture.

    Args:
        axes: By name.
        counts: Units of each axis in the whole network.
        stages: In data-flow order; stages without weights are folded into the operations of the one before.
    """

    axes: dict[str, Axis]
    counts: dict[str, int]
    stages: tuple[PlanStage, ...]

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge once, in data-flow order."""
        return tuple(edge for stage in self.stages for edge in stage.edges)

    @cached_property
    def owners(self) -> Tensor:
        """Mean over the edges of each stage, `(stages, edges)`."""
        owner = [i for i, stage in enumerate(self.stages) for _ in stage.edges]
        hot = torch.nn.functional.one_hot(torch.tensor(owner)).double().T
        return hot / hot.sum(1, keepdim=True)

    @cached_property
    def sizes(self) -> Tensor:
        """`SIZES` logarithms to base 2: weights, of the largest block, blocks, matrices, vectors, kernels."""
        numbers = [prod(e.sizes) for e in self.edges]
        matrices = sum(e.between for e in self.edges)
        kernels = sum(e.sizes[2] > 1 for e in self.edges)
        counts = (sum(numbers), max(numbers), len(numbers), matrices, len(numbers) - matrices, kernels)
        return torch.tensor([log2(1 + n) for n in counts], dtype=torch.float64)


def compile_plan(graph: ParameterGraph) -> Plan:
    """Return the plan of a graph.

    Raises:
        GraphError: The graph holds no block with a weight in it.
    """
    stages, sides = list[PlanStage](), Sides()
    left = {name for name, block in graph.blocks.items() if block.size}
    if not left:
        raise GraphError("the graph holds no block with weights, so there is nothing to embed.")
    for stage in graph.stages:
        names = [name for name in dict.fromkeys(stage.blocks) if name in left]
        left -= set(names)
        ops = (stage.op, *stage.after)
        if names:
            stages.append(PlanStage(stage.name, ops, tuple(_edge(graph, graph.blocks[n], sides) for n in names)))
        elif stages:
            stages[-1] = PlanStage(stages[-1].name, (*stages[-1].ops, *ops), stages[-1].edges)
    rest = [block for name, block in graph.blocks.items() if name in left]
    stages += [PlanStage(block.tensor, (block.kind,), (_edge(graph, block, sides),)) for block in rest]
    counts = {name: count for name in graph.axes if (count := graph.count(name))}
    return Plan({name: graph.axes[name] for name in counts}, counts, tuple(stages))


Sides = dict[Term, Side]


def _edge(graph: ParameterGraph, block: Block, sides: Sides) -> Edge:
    outs, ins, taps = dimension_roles(graph, block)
    kernel = tuple(graph.length(block.dims[d]) for d in taps)
    out_term, in_term = (Prod(tuple(block.dims[d] for d in dims)) for dims in (outs, ins))
    sizes = (graph.length(out_term), graph.length(in_term), block.size // graph.length(Prod((out_term, in_term))))
    rows, columns = (segments(graph, term) if dims else [] for term, dims in ((out_term, outs), (in_term, ins)))
    shared, near = _shared(graph, rows, columns)
    index = _groups(graph, rows if near == "out" else columns, shared) if near else None
    target = _side(graph, rows, out_term, _Split(shared, index, near == "out"), sides)
    source = _side(graph, columns, in_term, _Split(shared, index, near == "in"), sides)
    split = (near, index) if near and index is not None else None
    return Edge(block.tensor, block.kind, (*outs, *ins, *taps), sizes, kernel, target, source, split)


@dataclass(frozen=True)
class _Split:
    shared: tuple[str, ...]
    index: Tensor | None
    near: bool


def _side(graph: ParameterGraph, found: list[Segment], term: Term, split: _Split, sides: Sides) -> Side | None:
    if not found:
        return None
    if not split.shared and term in sides:
        return sides[term]
    rank = np.argsort(split.index.flatten().numpy()) if split.index is not None and split.near else None
    grouping = Grouping(split.shared, rank) if split.shared else None
    side = make_side(graph, found, grouping)
    return side if split.shared else sides.setdefault(term, side)


def _shared(graph: ParameterGraph, rows: list[Segment], columns: list[Segment]) -> tuple[tuple[str, ...], str | None]:
    """Parents that only one side names although both live in them, and that side."""
    for split, near, far in (("out", rows, columns), ("in", columns, rows)):
        names = _common(graph, near, named=True)
        names &= _common(graph, far, named=False)
        if names:
            return tuple(sorted(names, key=lambda name: len(graph.lineage(name)))), split
    return (), None


def _common(graph: ParameterGraph, found: list[Segment], *, named: bool) -> set[str]:
    """Axes that every segment lives in and names, or lives in without naming them."""
    sets = []
    for segment in found:
        line = graph.lineage(segment.axis) if segment.axis else ()
        sets.append({name for name in line if (name in segment.digits) == named})
    return sets[0].intersection(*sets[1:]) if sets else set()


def _groups(graph: ParameterGraph, near: list[Segment], shared: tuple[str, ...]) -> Tensor:
    """`(groups, positions in a group)` of the side that names the shared parents."""
    sizes = [graph.axes[name].size for name in shared]
    group = np.concatenate([np.ravel_multi_index([s.digits[name] for name in shared], sizes) for s in near])
    positions = np.concatenate([segment.positions for segment in near])
    order = np.lexsort((positions, group))
    return torch.from_numpy(positions[order].reshape(int(group.max()) + 1, -1))
