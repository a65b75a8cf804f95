"""First-order unification of terms: ties, and splits where a reshape or a slice asks for them.

Parts that cannot be matched or split are never guessed: `tie` then fixes all leaves of both sides.
"""

from __future__ import annotations

from collections.abc import Callable

from weightspace.graph.trace.terms import (
    UNIT,
    Leaf,
    Prod,
    Same,
    Sum,
    Term,
    concatenation,
    fix,
    leaves,
    normal,
    product,
    resolve,
    size_of,
)


def tie(a: Term, b: Term, reason: str) -> Term:
    """Let two dimensions run over the same units; where their parts can't be matched fix both. Return either."""
    if not unify(a, b):
        fix(a, reason)
        fix(b, reason)
    first = resolve(a)
    weak = isinstance(first, Same) or first is UNIT or (isinstance(first, Leaf) and first.loose)
    return b if weak and not isinstance(resolve(b), Same) else a


def unify(a: Term, b: Term) -> bool:
    """Let two terms be one. False where their parts don't fit; nothing is fixed then."""
    a, b = normal(a), normal(b)
    if a is b or isinstance(a, Same) or isinstance(b, Same):
        return True
    if size_of(a) != size_of(b):
        return False
    match a, b:
        case Leaf(loose=True), _:
            return _meet(a, b)
        case _, Leaf(loose=True):
            return _meet(b, a)
        case Leaf(), Leaf():
            a.absorb(b)
            b.bound = a
            return True
        case _ if size_of(a) == 1:
            return True
        case Leaf(), _:
            return _bind(a, b)
        case _, Leaf():
            return _bind(b, a)
        case Prod(left), Prod(right):
            return _align(list(left), list(right), divide)
        case Sum(left), Sum(right):
            return _align(list(left), list(right), cut)
        case Sum(), Prod(parts):
            return _factor(a, parts)
        case Prod(parts), Sum():
            return _factor(b, parts)
    return False


def _meet(loose: Leaf, term: Term) -> bool:
    for leaf in leaves(term):
        leaf.absorb(loose)
    return True


def _own(term: Term, known: dict[Leaf, Leaf]) -> Term:
    """Copy a term with leaves of its own in place of loose ones."""
    term = resolve(term)
    match term:
        case Leaf(loose=True):
            fresh = Leaf(term.size, term.reason, set(term.roles), term.span)
            return known.setdefault(term, fresh)
        case Prod(parts):
            return Prod(tuple(_own(part, known) for part in parts))
        case Sum(parts):
            return Sum(tuple(_own(part, known) for part in parts))
    return term


def _bind(leaf: Leaf, term: Term) -> bool:
    term = _own(term, {})
    inside = list(leaves(term))
    if any(leaf is other for other in inside):
        return False
    for other in inside:
        other.absorb(leaf)
    leaf.bound = term
    return True


def _align(left: list[Term], right: list[Term], split: Callable[[Term, int], tuple[Term, Term] | None]) -> bool:
    """Match two lists of parts from the front; the larger one is split where the smaller one ends."""
    while left and right:
        a, b = left.pop(0), right.pop(0)
        if size_of(a) > size_of(b):
            a, b, left, right = b, a, right, left
        if size_of(a) < size_of(b):
            halves = split(b, size_of(a))
            if halves is None:
                return False
            b = halves[0]
            right.insert(0, halves[1])
        if not unify(a, b):
            return False
    return not left and not right


def _factor(total: Term, parts: tuple[Term, ...]) -> bool:
    halves = divide(total, size_of(parts[0]))
    return halves is not None and unify(halves[0], parts[0]) and unify(halves[1], product(list(parts[1:])))


def divide(term: Term, major: int) -> tuple[Term, Term] | None:
    """Split a term into a major part of that size and a minor rest; None where its parts don't allow it."""
    term = normal(term)
    if major == 0 or size_of(term) % major:
        return None
    minor = size_of(term) // major
    match term:
        case Leaf():
            halves = term.like(major), term.like(minor)
            term.bound = Prod(halves)
            return halves
        case Same():
            return Same(major), Same(minor)
        case Prod(parts):
            return _divide_product(list(parts), major)
        case Sum(parts):
            if any(size_of(part) % minor for part in parts):
                return None
            split = [divide(part, size_of(part) // minor) for part in parts]
            pairs = [pair for pair in split if pair is not None]
            if len(pairs) < len(parts) or not all(unify(pairs[0][1], rest) for _, rest in pairs[1:]):
                return None
            return Sum(tuple(first for first, _ in pairs)), pairs[0][1]
    return None


def _divide_product(parts: list[Term], major: int) -> tuple[Term, Term] | None:
    taken: list[Term] = []
    while major > 1 and parts:
        part, size = parts[0], size_of(parts[0])
        if major % size == 0:
            taken.append(parts.pop(0))
            major //= size
            continue
        halves = divide(part, major)
        if halves is None:
            return None
        taken.append(halves[0])
        parts[0], major = halves[1], 1
    return Prod(tuple(taken)), Prod(tuple(parts))


def cut(term: Term, offset: int) -> tuple[Term, Term] | None:
    """Split a term after `offset` positions; None where that falls inside a unit of its major part."""
    term = normal(term)
    size = size_of(term)
    match term:
        case Leaf():
            halves = term.like(offset), term.like(size - offset)
            if not term.settled:
                term.bound = Sum(halves)
            return halves
        case Same():
            return Same(offset), Same(size - offset)
        case Sum(parts):
            return _cut_sum(list(parts), offset)
        case Prod(parts):
            rest = product(list(parts[1:]))
            sides = None if offset % size_of(rest) else cut(parts[0], offset // size_of(rest))
            return None if sides is None else (Prod((sides[0], rest)), Prod((sides[1], rest)))
    return None


def _cut_sum(parts: list[Term], offset: int) -> tuple[Term, Term] | None:
    left: list[Term] = []
    while offset >= size_of(parts[0]):
        offset -= size_of(parts[0])
        left.append(parts.pop(0))
        if not offset:
            return concatenation(left), concatenation(parts)
    halves = cut(parts[0], offset)
    return None if halves is None else (concatenation([*left, halves[0]]), concatenation([halves[1], *parts[1:]]))
