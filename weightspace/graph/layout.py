"""Where each position of a stored dimension sits: which unit, and which slot of that unit.

This is the one place that turns terms into numbers; relabelling, alignment and the encoder all read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod

import numpy as np

from weightspace.graph.axes import Block, Leaf, ParameterGraph, Span, Sum, Term, leaves


class Side(Enum):
    """Which dimensions of a block count: those of units it writes or sits on, or those of units it reads."""

    WRITTEN = 0
    READ = 1


@dataclass(frozen=True)
class Segment:
    """The positions of one dimension that have the same factors.

    Position `positions[p]` belongs to unit `units[p]` of `axis` (counted over the whole network, parents major; see
    `ParameterGraph.count`) and is its `slots[p]`-th position here (kernel tap, gate). `axis` is None where the
    positions are no units at all; `units` then is all zeros. `digits` holds, for each axis of the segment, the
    index of each position within that axis. `factors` are all factors, major first: position `positions[p]` has the
    mixed-radix digits of `p`.
    """

    axis: str | None
    positions: np.ndarray
    units: np.ndarray
    slots: np.ndarray
    digits: dict[str, np.ndarray]
    factors: tuple[Leaf | Span, ...]

    def ordered(self, graph: ParameterGraph) -> bool:
        """Whether slots have an order, as pixels and gates do; else some are units themselves, of any order."""
        axes = [factor.axis for factor in self.factors if isinstance(factor, Leaf)]
        line = graph.lineage(self.axis) if self.axis else ()
        return len(set(axes)) == len(axes) and set(axes) <= set(line)


def digits_of(radices: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Return the digits of `0, 1, 2, ...` in a mixed radix, major first.

    Example:
        >>> [digit.tolist() for digit in digits_of((2, 3))]
        [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]
    """
    return np.unravel_index(np.arange(prod(radices)), radices) if radices else ()


def dimension_roles(graph: ParameterGraph, block: Block) -> tuple[list[int], list[int], list[int]]:
    """Return the stored dimensions that are written, those that are read, and those that are taps.

    A dimension without units is taps, whatever its letter; one with units is never. Without any that is read, every
    further dimension whose axes have nothing to do with the first one's counts as read.

    Example:
        >>> from weightspace.graph.axes import Axis
        >>> axes = {"y": Axis("y", 2, "output"), "x": Axis("x", 5, "input")}
        >>> w = Block("w", "conv", (Span(3), Leaf("x"), Leaf("y")), "kio", 30)
        >>> dimension_roles(ParameterGraph(axes, {"w": w}, (), "infer"), w)
        ([2], [1], [0])
    """
    bare = [d for d, term in enumerate(block.dims) if not any(leaves(term))]
    outs, ins, taps = ([d for d, v in enumerate(block.view) if v == letter and d not in bare] for letter in "oik")
    ins += taps
    if not outs:
        outs, ins = ins[:1], ins[1:]
    if not ins:
        ins = [d for d in outs[1:] if not _related(graph, block.dims[outs[0]], block.dims[d])]
        outs = [d for d in outs if d not in ins]
    return outs, ins, bare


def _related(graph: ParameterGraph, a: Term, b: Term) -> bool:
    """Whether some axis of one term is an ancestor of, or is, an axis of the other."""
    first, second = ({leaf.axis for leaf in leaves(term)} for term in (a, b))
    ancestors = {name for axis in first for name in graph.lineage(axis)}
    return bool(ancestors & second) or any(set(graph.lineage(axis)) & first for axis in second)


@dataclass(frozen=True)
class _Run:
    """Positions that share their factors, each with its digit."""

    positions: np.ndarray
    factors: tuple[tuple[Leaf | Span, np.ndarray], ...]


def segments(graph: ParameterGraph, term: Term) -> list[Segment]:
    """Return the segments of a dimension; their positions together are `range(graph.length(term))`.

    In a segment the most deeply nested leaf is the axis; leaves that are its parents pick the unit, all other factors
    count slots. A parent that is not in `term` (it sits in another dimension) is taken at its first unit.

    Example:
        >>> from weightspace.graph.axes import Axis, Prod
        >>> g = ParameterGraph({"c": Axis("c", 2, "hidden")}, {}, (), "infer")
        >>> [(s.axis, s.units.tolist(), s.slots.tolist()) for s in segments(g, Prod((Leaf("c"), Span(3))))]
        [('c', [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])]
    """
    return [_segment(graph, run) for run in _runs(graph, term)]


def _runs(graph: ParameterGraph, term: Term) -> list[_Run]:
    if isinstance(term, Leaf | Span):
        here = np.arange(graph.length(term))
        return [_Run(here, ((term, here),))]
    if isinstance(term, Sum):
        found, start = [], 0
        for part in term.parts:
            found += [_Run(start + run.positions, run.factors) for run in _runs(graph, part)]
            start += graph.length(part)
        return found
    runs = [_Run(np.zeros(1, np.int64), ())]
    for part in term.parts:
        size = graph.length(part)
        runs = [_join(major, minor, size) for major in runs for minor in _runs(graph, part)]
    return runs


def _join(major: _Run, minor: _Run, size: int) -> _Run:
    """Product of two runs; `size` is the length of the dimension the minor one lies in."""
    n, m = len(major.positions), len(minor.positions)
    positions = (major.positions[:, None] * size + minor.positions).ravel()
    outer = tuple((factor, np.repeat(digit, m)) for factor, digit in major.factors)
    return _Run(positions, outer + tuple((factor, np.tile(digit, n)) for factor, digit in minor.factors))


def _segment(graph: ParameterGraph, run: _Run) -> Segment:
    digits = {factor.axis: digit for factor, digit in run.factors if isinstance(factor, Leaf)}
    axis = max(digits, key=lambda name: len(graph.lineage(name)), default=None)
    line = graph.lineage(axis) if axis else ()
    units = np.zeros_like(run.positions)
    for i, name in enumerate(line):
        if name in digits:
            units = units + digits[name] * prod(graph.axes[n].size for n in line[i + 1 :])
    slots, counted = np.zeros_like(run.positions), set()
    for factor, digit in run.factors:
        if isinstance(factor, Leaf) and factor.axis in line and factor.axis not in counted:
            counted.add(factor.axis)
        else:
            slots = slots * graph.length(factor) + digit
    return Segment(axis, run.positions, units, slots, digits, tuple(factor for factor, _ in run.factors))
