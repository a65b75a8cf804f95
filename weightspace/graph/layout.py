"""Where each position of a stored dimension sits: which unit, and which slot of that unit.

This is the one place that turns terms into numbers; relabelling, alignment and the encoder all read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from weightspace.graph.axes import Leaf, ParameterGraph, Span, Sum, Term


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


def digits_of(radices: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Return the digits of `0, 1, 2, ...` in a mixed radix, major first.

    Example:
        >>> [digit.tolist() for digit in digits_of((2, 3))]
        [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]
    """
    return np.unravel_index(np.arange(prod(radices)), radices) if radices else ()


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
