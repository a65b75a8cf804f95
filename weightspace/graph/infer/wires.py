"""Axes that are being wired: united, bound to composites, fixed, and at the end resolved into a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod, Role, Span, Stage, Sum, Term, leaves

RANK = {"hidden": 0, "output": 1, "input": 2, "fixed": 3}


class Wires:
    """Union-find over axis names. Uniting never loses what fixes an axis, so every step only takes freedom away."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._parent: dict[str, str] = {}
        self._bound: dict[str, Term] = {}
        self._role: dict[str, tuple[Role, str]] = {}
        self._nested: dict[str, str] = {}

    def add(self, name: str, size: int, role: Role = "hidden", reason: str = "", parent: str | None = None) -> str:
        """Add an axis and return its name."""
        self.sizes[name], self._parent[name], self._role[name] = size, name, (role, reason)
        if parent:
            self._nested[name] = parent
        return name

    def root(self, name: str) -> str:
        """Return the name that stands for all axes united with `name`."""
        while self._parent[name] != name:
            self._parent[name] = name = self._parent[self._parent[name]]
        return name

    def mark(self, name: str, role: Role, reason: str = "") -> None:
        """Give an axis a role, unless it has a stronger one; all axes of a composite get it."""
        name = self.root(name)
        for leaf in leaves(self._bound[name]) if name in self._bound else ():
            self.mark(leaf.axis, role, reason)
        old, why = self._role[name]
        if RANK[role] > RANK[old] or (role == old and not why):
            self._role[name] = role, reason

    def role(self, name: str) -> Role:
        """Role of an axis so far."""
        return self._role[self.root(name)][0]

    def bind(self, name: str, term: Term, reason: str) -> None:
        """Let `name` stand for `term`; where it already stands for something else, both are fixed for `reason`."""
        name, term = self.root(name), self.term(term)
        if term == Leaf(name):
            return
        if isinstance(term, Leaf):
            self.unite(name, term.axis, reason)
        elif self._bound.get(name, term) != term or any(leaf.axis == name for leaf in leaves(term)):
            self.mark(name, "fixed", reason)
            for leaf in leaves(term):
                self.mark(leaf.axis, "fixed", reason)
        else:
            role, why = self._role[name]
            self._bound[name] = term
            if role != "hidden":
                self.mark(name, role, why)

    def unite(self, a: str, b: str, reason: str = "read in two ways that do not agree") -> None:
        """Make two axes of one size one; two different composites are fixed for `reason`."""
        a, b = self.root(a), self.root(b)
        if a == b:
            return
        assert self.sizes[a] == self.sizes[b], (a, self.sizes[a], b, self.sizes[b])
        if b in self._bound and a not in self._bound:
            a, b = b, a
        if a in self._bound and b in self._bound:
            if self.term(Leaf(a)) != self.term(Leaf(b)):
                self.mark(a, "fixed", reason)
                self.mark(b, "fixed", reason)
                return
        if a in self._bound and any(leaf.axis == b for leaf in leaves(self.term(Leaf(a)))):
            self.mark(a, "fixed", reason)
            self.mark(b, "fixed", reason)
            return
        role, why = self._role[b]
        self._parent[b] = a
        if b in self._nested:
            self._nested.setdefault(a, self._nested[b])
        if role != "hidden":
            self.mark(a, role, why)

    def term(self, term: Term) -> Term:
        """Return `term` with every axis replaced by what it stands for."""
        match term:
            case Leaf(axis):
                root = self.root(axis)
                return self.term(self._bound[root]) if root in self._bound else Leaf(root)
            case Prod(parts):
                return _flat(Prod, [self.term(part) for part in parts])
            case Sum(parts):
                return _flat(Sum, [self.term(part) for part in parts])
        return term

    def graph(self, blocks: Iterable[Block], stages: tuple[Stage, ...], shared: Mapping[str, str]) -> ParameterGraph:
        """Resolve every block's dimensions and return the graph."""
        made = [Block(b.tensor, b.kind, tuple(map(self.term, b.dims)), b.view, b.size) for b in blocks]
        used = dict.fromkeys(name for b in made for name in b.axes)
        for name in list(used):
            while name in self._nested:
                name = self.root(self._nested[name])
                used[name] = None
        axes = {name: self._axis(name) for name in used}
        known = {b.tensor for b in made}
        kept = tuple(
            Stage(s.name, s.op, s.blocks, s.after, tuple(r for r in map(self.root, s.reads) if r in axes))
            for s in stages
        )
        return ParameterGraph(axes, {b.tensor: b for b in made}, kept, "infer", _known(shared, known))

    def _axis(self, name: str) -> Axis:
        role, reason = self._role[name]
        parent = self._nested.get(name)
        return Axis(name, self.sizes[name], role, reason, self.root(parent) if parent else None)


def _known(shared: Mapping[str, str], tensors: set[str]) -> dict[str, str]:
    return {alias: name for alias, name in shared.items() if name in tensors}


def _flat(make: type[Prod] | type[Sum], parts: list[Term]) -> Term:
    """Splice parts of the same make; join spans that meet in a product, write a sum of one axis as a product."""
    spliced: list[Term] = []
    for part in parts:
        spliced += list(part.parts) if isinstance(part, make) else [part]
    if make is Prod:
        merged: list[Term] = []
        for part in spliced:
            if isinstance(part, Span) and merged and isinstance(merged[-1], Span):
                merged[-1] = Span(prod((merged[-1].size, part.size)))
            elif part != Span(1) or not merged:
                merged.append(part)
        spliced = merged
    elif all(isinstance(part, Leaf) and part == spliced[0] for part in spliced):
        spliced = [_flat(Prod, [Span(len(spliced)), spliced[0]])]
    return spliced[0] if len(spliced) == 1 else make(tuple(spliced))
