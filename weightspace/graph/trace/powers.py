"""Which power of a unit's factor each tensor of a program carries, and what the operations demand of them.

Multiply every weight into unit u by a[u]: somewhere behind it a tensor turns into a[u]^p times what it was, wherever
its index along that axis is u. Each place of an axis in a tensor is a spot with an unknown power p; each operation
makes an equation between the spots it touches. An operation that is not understood demands p = 0. Every solution
keeps the network's function.

    relu         p(out) = p(in)                positive factors only
    tanh         p(out) = p(in)                signs only
    a @ b        p(a) + p(b) = 0               at the contracted axis
    a * b        p(out) = p(a) + p(b)
    a + 1        p(out) = p(a) = 0
    batch norm   p(in) = 0, p(out) = p(scale) = p(shift)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from weightspace.graph.scaling import MODES, Mode
from weightspace.graph.trace.literals import Ref, references
from weightspace.graph.trace.program import Node
from weightspace.graph.trace.solve import Number, Row
from weightspace.graph.trace.state import State
from weightspace.graph.trace.terms import Case, Cut, Leaf, Prod, Sum, Term, leaves, normal, size_of

Spots = list[int]


@dataclass
class Powers:
    """Spots of all tensors, and the equations between them.

    Args:
        state: After the terms were carried through.
        axes: Only these have spots; the others can't be rescaled whatever the operations are.
        leaf: Axis of each spot.
        rows: Equations by axis and mode; each sums to zero.
        stops: Operations that let no factor pass, by axis and mode, in program order.
        zeros: Tensors that hold nothing but zeros, which is true at any scale.
    """

    state: State
    axes: frozenset[Leaf]
    leaf: list[Leaf] = field(default_factory=list)
    rows: dict[tuple[Leaf, Mode], list[Row]] = field(default_factory=dict)
    stops: dict[tuple[Leaf, Mode], dict[str, None]] = field(default_factory=dict)
    zeros: set[Ref] = field(default_factory=set)
    where: str = ""
    _found: dict[Ref, list[Spots]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Number the spots in the order in which their powers are chosen: what comes from the input, then the rest."""
        for told in (True, False):
            for ref, tensor in self.state.tensors.items():
                if tensor.told == told:
                    self._found[ref] = [self._new(term) for term in tensor.terms]

    def _new(self, term: Term) -> Spots:
        start = len(self.leaf)
        self.leaf += self._hidden(term)
        return list(range(start, len(self.leaf)))

    def _hidden(self, term: Term) -> list[Leaf]:
        return [leaf for leaf in leaves(normal(term)) if leaf in self.axes]

    def of(self, ref: Ref) -> list[Spots]:
        """Spots of a tensor, one list a dimension; none where it was not traced."""
        return self._found.get(ref, [])

    def within(self, ref: Ref, d: int, start: int, stop: int) -> list[Spots] | None:
        """Spots of a tensor whose dimension `d` is cut to some positions; None where units would be cut through."""
        term, found = self.state.tensors[ref].terms[d], list(self.of(ref))
        parts = term.parts if isinstance(term, Cut) else _parts(term)
        edges, counts = [0], [0]
        for part in parts:
            edges.append(edges[-1] + size_of(part))
            counts.append(counts[-1] + len(self._hidden(part)))
        if start not in edges or stop not in edges:
            return None if found[d] or isinstance(term, Cut) else found
        first, last = edges.index(start), edges.index(stop)
        found[d] = found[d][counts[first] : counts[last]]
        if isinstance(term, Cut):
            return self._slot(ref, term, found, first) if last == first + 1 else None
        return found

    def _slot(self, ref: Ref, cut: Cut, found: list[Spots], slot: int) -> list[Spots]:
        """What depends on a slot dimension, in one slot."""
        for d, term in enumerate(self.state.tensors[ref].terms):
            if isinstance(term, Case) and term.cut is cut:
                counts = [len(self._hidden(variant)) for variant in term.variants]
                found[d] = found[d][sum(counts[:slot]) : sum(counts[: slot + 1])]
        return found

    def grouped(self, ref: Ref, d: int, groups: int) -> tuple[Spots, Spots] | None:
        """Spots of the groups that dimension `d` is made of, and of the units in each; None where it is not."""
        spots, term = self.of(ref)[d], normal(self.state.tensors[ref].terms[d])
        if groups == 1 or not spots:
            return [], spots
        held, count = 1, 0
        for part in term.parts if isinstance(term, Prod) and size_of(term) != groups else (term,):
            held *= size_of(part)
            count += len(self._hidden(part))
            if held >= groups:
                break
        return (spots[:count], spots[count:]) if held == groups else None

    def add(self, row: Row, modes: Sequence[Mode] = MODES) -> None:
        """Demand that a sum of powers is zero."""
        leaf = self.leaf[next(iter(row))]
        for mode in modes:
            self.rows.setdefault((leaf, mode), []).append(row)

    def pin(self, spots: Iterable[Spots], modes: Sequence[Mode] = MODES) -> None:
        """Let no factor pass."""
        for spot in (spot for some in spots for spot in some):
            for mode in modes:
                self.stops.setdefault((self.leaf[spot], mode), {})[self.where] = None
            self.add({spot: 1}, modes)

    def pin_all(self, refs: Iterable[Ref]) -> None:
        """Let no factor pass through any of some tensors."""
        self.pin(spots for ref in refs for spots in self.of(ref))

    def bar(self, node: Node) -> None:
        """Let no factor pass through an operation."""
        self.pin_all(references((*node.args, *node.kwargs.values())))
        self.pin_all(self.results(node))

    def results(self, node: Node) -> list[Ref]:
        """Return all results of an operation."""
        found = [Ref(node.name, i if len(node.values) > 1 else None) for i in range(len(node.values))]
        return [ref for ref in found if ref in self._found]

    def total(self, terms: Sequence[tuple[Spots, int]], modes: Sequence[Mode] = MODES) -> None:
        """Demand that dimensions which run over the same axes balance: the sum of `sign * power` is zero in each.

        Where they don't run over the same axes, no factor passes.
        """
        if len({tuple(id(self.leaf[s]) for s in spots) for spots, _ in terms}) > 1:
            self.pin((spots for spots, _ in terms), modes)
            return
        for together in zip(*(spots for spots, _ in terms), strict=True):
            row: dict[int, Number] = {}
            for spot, (_, sign) in zip(together, terms, strict=True):
                row[spot] = row.get(spot, 0) + sign
            self.add(row, modes)

    def same(self, a: Spots, b: Spots, modes: Sequence[Mode] = MODES) -> None:
        """Demand that two dimensions carry the same powers."""
        self.total([(a, 1), (b, -1)], modes)

    def equal(self, spots: Spots) -> None:
        """Demand one power of all spots of an axis."""
        for spot in spots[1:]:
            self.add({spots[0]: 1, spot: -1})

    def carry(self, x: list[Spots], out: list[Spots], pairs: Iterable[tuple[int, int]]) -> None:
        """Demand equal powers in pairs of dimensions, and none in dimensions that are in no pair."""
        pairs = list(pairs)
        for a, b in pairs:
            self.same(x[a], out[b])
        self.pin(spots for d, spots in enumerate(x) if d not in {a for a, _ in pairs})
        self.pin(spots for d, spots in enumerate(out) if d not in {b for _, b in pairs})


def _parts(term: Term) -> tuple[Term, ...]:
    term = normal(term)
    return term.parts if isinstance(term, Sum) else (term,)
