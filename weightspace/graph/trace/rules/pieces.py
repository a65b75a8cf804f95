"""Operations that take tensors apart along a dimension, or put them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from weightspace.graph.trace.program import Node
from weightspace.graph.trace.rules.shapes import _pick, squeeze
from weightspace.graph.trace.state import State, Tracked, fresh, settle
from weightspace.graph.trace.terms import Case, Cut, Leaf, Same, Term, concatenation, fix, resolve, size_of
from weightspace.graph.trace.unify import cut, tie


def slice_(state: State, node: Node, x: Tracked, *where: Any, **named: Any) -> Tracked:
    """Positions `start` to `end` of dimension `dim`; with a `step` the order is fixed."""
    given = dict(zip(("dim", "start", "end", "step"), where, strict=False)) | named
    d, step = given.get("dim", 0) % len(x.terms), given.get("step", 1)
    begin, stop, _ = slice(given.get("start"), given.get("end")).indices(size_of(x.terms[d]))
    if step != 1:
        x = settle(x)
        reason = f"{node.op} takes every {step}th position"
        term = resolve(x.terms[d])
        fix(term, reason)
        span = isinstance(term, Leaf) and term.span
        count = len(range(begin, stop, step))
        new = Same(count) if isinstance(term, Same) else Leaf(count, reason, span=span)
        return _pick(x, list(range(len(x.terms))), [new if i == d else t for i, t in enumerate(x.terms)])
    return _piece(state, node, x, d, (begin, max(begin, stop)))


def _piece(state: State, node: Node, x: Tracked, d: int, span: tuple[int, int]) -> Tracked:
    size, (begin, stop) = size_of(x.terms[d]), span
    if (begin, stop) == (0, size):
        return x
    slot = _slot(x, d, span)
    if slot is not None:
        return slot
    x = settle(x)
    _remember(state, x.terms[d], span)
    new = _between(x.terms[d], begin, stop) if stop > begin else Leaf(0)
    if new is None:
        reason = f"{node.op} cuts through the units of a product"
        fix(x.terms[d], reason)
        new = Leaf(stop - begin, reason)
    return _pick(x, list(range(len(x.terms))), [new if i == d else t for i, t in enumerate(x.terms)])


def _remember(state: State, term: Term, span: tuple[int, int]) -> None:
    """Note the cuts of a dimension that a reshape made, also where it has been cut before."""
    while isinstance(term, Leaf):
        if term.key is not None:
            state.found.setdefault(term.key, set()).update(edge for edge in span if 0 < edge < term.size)
            return
        if term.bound is None:
            return
        term = term.bound


def _slot(x: Tracked, d: int, span: tuple[int, int]) -> Tracked | None:
    """Where one whole slot is taken, everything that depends on it is known."""
    whole = x.terms[d]
    if not isinstance(whole, Cut):
        return None
    start = 0
    for i, part in enumerate(whole.parts):
        if (start, start + size_of(part)) == span:
            chosen = [
                part if t is whole else t.variants[i] if isinstance(t, Case) and t.cut is whole else t for t in x.terms
            ]
            return replace(x, terms=tuple(chosen))
        start += size_of(part)
    return None


def _between(term: Term, begin: int, stop: int) -> Term | None:
    size = size_of(term)
    if stop < size:
        halves = cut(term, stop)
        if halves is None:
            return None
        term = halves[0]
    if begin > 0:
        halves = cut(term, begin)
        return None if halves is None else halves[1]
    return term


def select(state: State, node: Node, x: Tracked, dim: int, index: int) -> Tracked:
    """One position of one dimension."""
    d = dim % len(x.terms)
    begin = index % size_of(x.terms[d])
    return squeeze(state, node, _piece(state, node, x, d, (begin, begin + 1)), d)


def split(state: State, node: Node, x: Tracked, sizes: tuple[int, ...], dim: int = 0) -> tuple[Tracked, ...]:
    """All pieces of one dimension."""
    found, begin = [], 0
    for size in sizes:
        found.append(_piece(state, node, x, dim % len(x.terms), (begin, begin + size)))
        begin += size
    return tuple(found)


def cat(state: State, node: Node, tensors: Sequence[Tracked], dim: int = 0) -> Tracked:
    """Tensors after one another; their other dimensions are the same units."""
    tensors = [t for t in tensors if t.shape != (0,)]
    d = dim % len(tensors[0].terms)
    terms: list[Term] = []
    for i in range(len(tensors[0].terms)):
        if i == d:
            terms.append(concatenation([fresh(t.terms[i]) for t in tensors if size_of(t.terms[i])]))
            continue
        term = tensors[0].terms[i]
        for other in tensors[1:]:
            term = tie(term, other.terms[i], f"{node.op} joins unlike parts")
        terms.append(term)
    result = state.derive(terms, *tensors)
    for tensor in tensors:
        if tensor.origin is not None and any(t.origin is None for t in tensors):
            state.place(tensor, result)
    state.follow(result, "cat")
    return result


def pad(state: State, node: Node, x: Tracked, widths: tuple[int, ...], *_: Any) -> Tracked:
    """Constant positions before and after; they are units of their own."""
    terms = list(x.terms)
    for i in range(len(widths) // 2):
        before, after, d = widths[2 * i], widths[2 * i + 1], len(terms) - 1 - i
        term = resolve(terms[d])
        if before < 0 or after < 0 or (isinstance(term, Leaf) and term.span):
            fix(term, f"{node.op} pads positions")
            terms[d] = Leaf(size_of(term) + before + after, "positions of a padded map", span=True)
        elif before or after:
            sides = [Leaf(n) for n in (before, after)]
            parts = [sides[0], fresh(term), sides[1]]
            terms[d] = concatenation([p for p in parts if size_of(p)])
    return state.derive(terms, x)


def _varying(x: Tracked, dim: int) -> Tracked:
    """Give a dimension of equal values units of its own, for it will vary once a piece is overwritten."""
    d = dim % len(x.terms)
    return replace(x, terms=tuple(fresh(t) if i == d else t for i, t in enumerate(x.terms)))


def slice_scatter(
    state: State, node: Node, x: Tracked, source: Tracked, dim: int = 0, start: int | None = None, *rest: Any
) -> Tracked:
    """A piece of one dimension overwritten."""
    x = _varying(x, dim)
    piece = slice_(state, node, x, dim, start, *rest)
    terms = [tie(fresh(t), s, f"{node.op} writes unlike parts") for t, s in zip(piece.terms, source.terms, strict=True)]
    d = dim % len(terms)
    kept = [x.terms[i] if i == d else t for i, t in enumerate(terms)]
    return state.derive(kept, x, source)


def select_scatter(state: State, node: Node, x: Tracked, source: Tracked, dim: int, index: int) -> Tracked:
    """One position of one dimension overwritten."""
    x = _varying(x, dim)
    piece = select(state, node, x, dim, index)
    kept = [tie(t, s, f"{node.op} writes unlike parts") for t, s in zip(piece.terms, source.terms, strict=True)]
    kept.insert(dim % len(x.terms), x.terms[dim])
    return state.derive(kept, x, source)


def turn(state: State, node: Node, x: Tracked, *args: Any) -> Tracked:
    """Flip and roll: positions in another order, so their order is fixed."""
    dims = args[-1] or range(len(x.terms))
    moved = {d % len(x.terms) for d in dims}
    for d in moved:
        fix(x.terms[d], f"{node.op} reorders positions")
    state.mix([x.terms[d] for d in moved], [t for i, t in enumerate(x.terms) if i not in moved])
    return state.derive(
        [Leaf(size_of(t), "reordered positions") if i in moved else t for i, t in enumerate(x.terms)], x
    )


RULES: dict[str, Callable[..., Any]] = {
    "aten.slice.Tensor": slice_,
    "aten.slice_copy.Tensor": slice_,
    "aten.select.int": select,
    "aten.select_copy.int": select,
    "aten.split_with_sizes.default": split,
    "aten.split_with_sizes_copy.default": split,
    "aten.cat.default": cat,
    "aten.constant_pad_nd.default": pad,
    "aten.slice_scatter.default": slice_scatter,
    "aten.select_scatter.default": select_scatter,
    "aten.flip.default": turn,
    "aten.roll.default": turn,
}
