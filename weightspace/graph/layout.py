"""Where each position of a stored dimension sits: which unit, and which slot of that unit.

This is the one place that turns terms into numbers; relabelling, alignment and the encoder all read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightspace.graph.axes import Leaf, ParameterGraph, Prod, Span, Sum, Term


@dataclass(frozen=True)
class Segment:
    """A run of positions of one dimension whose innermost axis is the same.

    Position `start + p` belongs to unit `units[p]` of `axis` (counted over the whole network, parents major; see
    `ParameterGraph.count`) and is its `slots[p]`-th position here (kernel tap, gate). `axis` is None where the
    positions are no units at all; `units` then is all zeros.
    """

    axis: str | None
    start: int
    units: np.ndarray
    slots: np.ndarray


def segments(graph: ParameterGraph, term: Term) -> list[Segment]:
    """Return the runs of positions of a dimension, in order.

    Inside a run the innermost leaf is the axis; leaves around it that are its parents pick the unit, all other
    factors count slots. A parent that is not in `term` (it sits in another dimension) is taken at its first unit.

    Example:
        >>> from weightspace.graph.axes import Axis
        >>> g = ParameterGraph({"c": Axis("c", 2, "hidden")}, {}, (), "infer")
        >>> [(s.axis, s.units.tolist(), s.slots.tolist()) for s in segments(g, Prod((Leaf("c"), Span(3))))]
        [('c', [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])]
    """
    found, start = [], 0
    for factors in _runs(term):
        size = int(np.prod([graph.length(f) for f in factors], dtype=np.int64))
        found.append(_segment(graph, factors, start, size))
        start += size
    return found


def _runs(term: Term) -> list[tuple[Leaf | Span, ...]]:
    """Distribute products over sums: each run is a plain product of leaves and spans, and runs are contiguous."""
    if isinstance(term, Leaf | Span):
        return [(term,)]
    if isinstance(term, Sum):
        return [run for part in term.parts for run in _runs(part)]
    if not term.parts:
        return [()]
    head, rest = term.parts[0], _runs(Prod(term.parts[1:]))
    heads = _runs(head)
    if len(rest) > 1:  # a sum under a product: unroll the outer factor, position by position
        raise NotImplementedError(f"a sum inside a product: {term}")
    return [h + rest[0] for h in heads]


def _segment(graph: ParameterGraph, factors: tuple[Leaf | Span, ...], start: int, size: int) -> Segment:
    names = [f.axis for f in factors if isinstance(f, Leaf)]
    if not names:
        return Segment(None, start, np.zeros(size, np.int64), np.arange(size))
    axis = max(names, key=lambda name: len(graph.lineage(name)))
    line = graph.lineage(axis)
    position, units, slots = np.arange(size), np.zeros(size, np.int64), np.zeros(size, np.int64)
    strides = {name: int(np.prod([graph.axes[n].size for n in line[i + 1 :]])) for i, name in enumerate(line)}
    step = size
    for factor in factors:
        length = graph.length(factor)
        step //= length
        digit = position // step % length
        if isinstance(factor, Leaf) and factor.axis in strides:
            units += digit * strides.pop(factor.axis)
        else:
            slots = slots * length + digit
    return Segment(axis, start, units, slots)
