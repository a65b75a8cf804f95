"""Operations that move numbers without changing them: reshapes, permutations, broadcasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

from weightspace.graph.trace.program import Node
from weightspace.graph.trace.state import Origin, State, Tracked, fresh
from weightspace.graph.trace.terms import (
    UNIT,
    Case,
    Cut,
    Leaf,
    Prod,
    Same,
    Sum,
    Term,
    concatenation,
    fix,
    product,
    resolve,
    size_of,
)
from weightspace.graph.trace.unify import divide, tie, unify


def _pick(x: Tracked, order: Sequence[int | None], terms: Sequence[Term]) -> Tracked:
    """Return `x` with new dimensions, each from the old one named in `order`."""
    origin = x.origin and Origin(x.origin.target, tuple(None if d is None else x.origin.dims[d] for d in order))
    return replace(x, terms=tuple(terms), origin=origin)


def keep(state: State, node: Node, x: Tracked, *_: Any, **__: Any) -> Tracked:
    """Same numbers, same places: clone, alias, a change of dtype."""
    return x


def permute(state: State, node: Node, x: Tracked, dims: tuple[int, ...]) -> Tracked:
    """Dimensions in another order."""
    order = [d % len(x.terms) for d in dims]
    return _pick(x, order, [x.terms[d] for d in order])


def transpose(state: State, node: Node, x: Tracked, a: int, b: int) -> Tracked:
    """Two dimensions exchanged."""
    order = list(range(len(x.terms)))
    order[a], order[b] = order[b], order[a]
    return permute(state, node, x, tuple(order))


def unsqueeze(state: State, node: Node, x: Tracked, dim: int) -> Tracked:
    """A new dimension of one position."""
    order: list[int | None] = list(range(len(x.terms)))
    order.insert(dim % (len(x.terms) + 1), None)
    return _pick(x, order, [UNIT if d is None else x.terms[d] for d in order])


def squeeze(state: State, node: Node, x: Tracked, dims: int | tuple[int, ...] = ()) -> Tracked:
    """Dimensions of one position dropped."""
    rank = len(x.terms)
    named = {d % rank for d in ((dims,) if isinstance(dims, int) else dims)} if dims != () else set(range(rank))
    order = [d for d in range(rank) if d not in named or size_of(x.terms[d]) != 1]
    return _pick(x, order, [x.terms[d] for d in order])


def expand(state: State, node: Node, x: Tracked, *_: Any, **__: Any) -> Tracked:
    """Dimensions of one position repeated; the tensor does not vary along them."""
    shape = node.values[0].shape  # type: ignore[union-attr]
    order: list[int | None] = [None] * (len(shape) - len(x.terms)) + list(range(len(x.terms)))
    terms: list[Term] = []
    for d, n in zip(order, shape, strict=True):
        terms.append(x.terms[d] if d is not None and size_of(x.terms[d]) == n else Same(n))
    kept = [
        None if isinstance(t, Same) and d is not None and t is not x.terms[d] else d
        for d, t in zip(order, terms, strict=True)
    ]
    return _pick(x, kept, terms)


def copy(state: State, node: Node, x: Tracked, source: Tracked, *_: Any) -> Tracked:
    """A tensor overwritten as a whole: what is left is its new content."""
    return expand(state, node, source)


def repeat(state: State, node: Node, x: Tracked, repeats: tuple[int, ...]) -> Tracked:
    """Whole copies after one another along some dimensions."""
    old = [UNIT] * (len(repeats) - len(x.terms)) + list(x.terms)
    terms = [t if r == 1 else Prod((Leaf(r), fresh(t))) for t, r in zip(old, repeats, strict=True)]
    order: list[int | None] = [None] * (len(repeats) - len(x.terms)) + list(range(len(x.terms)))
    return _pick(x, order, terms)


def view(state: State, node: Node, x: Tracked, *_: Any, **__: Any) -> Tracked:
    """Neighbouring dimensions merged or split, by order, never by size."""
    shape = node.values[0].shape  # type: ignore[union-attr]
    terms: list[Term] = []
    order: list[int | None] = []
    if 0 in shape:
        return replace(x, terms=tuple(Leaf(n) for n in shape), origin=None)
    for old, new in _groups(x.shape, shape):
        group = [x.terms[d] for d in old]
        terms += _regroup(state, node, group, [(d, shape[d]) for d in new])
        real = [d for d in old if x.shape[d] != 1]
        order += [
            real[0] if len(real) == 1 and shape[d] != 1 else old[0] if len(old) == len(new) == 1 else None for d in new
        ]
    return _pick(x, order, terms)


def _groups(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Smallest runs of old and new dimensions that hold equally many positions."""
    found, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        a, b = [i] if i < len(old) else [], [j] if j < len(new) else []
        i, j = i + len(a), j + len(b)
        while prod(old[d] for d in a) != prod(new[d] for d in b):
            if prod(old[d] for d in a) < prod(new[d] for d in b):
                a.append(i)
                i += 1
            else:
                b.append(j)
                j += 1
        found.append((a, b))
    return found


def _regroup(
    state: State, node: Node, group: list[Term], new: list[tuple[int, int]], *, apart: bool = True
) -> list[Term]:
    """Terms of the new dimensions; `apart` says whether those that are taken apart later become slots."""
    if len(group) == len(new) == 1:
        return group
    if all(isinstance(resolve(t), Same) or size_of(t) == 1 for t in group):
        single = [t for t in group if isinstance(resolve(t), Leaf)]
        return [Same(n) if n > 1 else single.pop() if single else UNIT for _, n in new]
    if any(isinstance(t, Cut | Case) for t in group):
        group = _flatten_slots(group)
    factors = [fresh(t) for t in group if size_of(t) != 1]
    found: list[Term] = []
    rest: Term = product(factors)
    for place, (dim, n) in enumerate(new):
        if n == 1:
            found.append(UNIT)
            continue
        minor = [(d, m) for d, m in new[place + 1 :]]
        slots = _slots(state, node, rest, (dim, n), minor) if apart else None
        if slots is not None:
            return found + slots
        halves = divide(rest, n)
        if halves is None:
            reason = f"{node.op} splits {size_of(product(factors))} in a way its parts don't allow"
            fix(product(factors), reason)
            return [Leaf(n, reason) for _, n in new]
        if isinstance(halves[0], Leaf) and halves[0].key is None and prod(m for _, m in minor) > 1:
            halves[0].key = (node.name, dim)
        found.append(halves[0])
        rest = halves[1]
    return found


def _slots(
    state: State, node: Node, rest: Term, slot: tuple[int, int], minor: list[tuple[int, int]]
) -> list[Term] | None:
    """Split into slots that are taken apart later, so that what depends on them may differ from slot to slot."""
    cuts = state.slots.get((node.name, slot[0]))
    if not cuts:
        return None
    inner = prod(n for _, n in minor)
    edges = [0, *sorted(cuts), slot[1]]
    sizes = [b - a for a, b in pairwise(edges)]
    wholes: list[Term] = [Leaf(n * inner) for n in sizes]
    if not unify(rest, Sum(tuple(wholes))):
        return None
    split = [
        _regroup(state, node, [whole], [(slot[0], n), *minor], apart=False)
        for whole, n in zip(wholes, sizes, strict=True)
    ]
    cut = Cut(tuple(parts[0] for parts in split))
    return [cut, *(Case(cut, tuple(parts[i + 1] for parts in split)) for i in range(len(minor)))]


def _flatten_slots(group: list[Term]) -> list[Term]:
    """Merge a slot dimension with what follows it; give up differences elsewhere."""
    cut = group[0]
    if isinstance(cut, Cut) and all((isinstance(t, Case) and t.cut is cut) or size_of(t) == 1 for t in group[1:]):
        inner = [t for t in group[1:] if isinstance(t, Case)]
        return [Sum(tuple(Prod((part, *(t.variants[i] for t in inner))) for i, part in enumerate(cut.parts)))]
    for term in group:
        if isinstance(term, Case):
            for variant in term.variants[1:]:
                tie(term.variants[0], variant, "slots of one tensor are used together")
    return [
        concatenation(list(t.parts)) if isinstance(t, Cut) else t.variants[0] if isinstance(t, Case) else t
        for t in group
    ]


RULES: dict[str, Callable[..., Any]] = {
    "aten.clone.default": keep,
    "aten.alias.default": keep,
    "aten.detach.default": keep,
    "aten.lift_fresh_copy.default": keep,
    "aten._to_copy.default": keep,
    "aten.permute.default": permute,
    "aten.transpose.int": transpose,
    "aten.unsqueeze.default": unsqueeze,
    "aten.squeeze.default": squeeze,
    "aten.squeeze.dim": squeeze,
    "aten.squeeze.dims": squeeze,
    "aten.expand.default": expand,
    "aten.copy.default": copy,
    "aten.repeat.default": repeat,
    "aten.view.default": view,
    "aten._unsafe_view.default": view,
    "aten.reshape.default": view,
}
