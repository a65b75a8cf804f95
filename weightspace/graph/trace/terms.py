"""What each dimension of a traced tensor runs over, and first-order unification of such terms.

    Leaf                   units of one axis, not known to have parts
    Prod((a, b))           a reshape: a major, b minor
    Sum((a, b))            a concatenation
    Same(n)                the tensor has the same value at all n positions
    Cut(parts), Case(cut, variants)   a slot dimension and what depends on it: `view(3, heads, units)` of fused q, k, v

A leaf binds lazily: to a product where a reshape splits it, to a sum where a slice does. What can't be split is never
guessed: all leaves of both sides are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod


@dataclass(eq=False)
class Leaf:
    """Units of one axis, or positions. `bound` is what it turned out to be.

    `reason` tells why the order can't change, `roles` holds `input` and `output`, `span` marks positions that are no
    units (pixels, taps). A `loose` leaf fixes what it meets and ties nothing: a constant may be used in many places.
    `key` names the reshape that made it.
    """

    size: int
    reason: str = ""
    roles: set[str] = field(default_factory=set)
    span: bool = False
    loose: bool = False
    key: tuple[str, int] | None = None
    bound: Term | None = None

    @property
    def settled(self) -> bool:
        """Whether its order is fixed already."""
        return bool(self.reason or self.roles or self.span)

    def absorb(self, other: Leaf) -> None:
        """Take over what is known of a leaf that turned out to be this one."""
        self.reason = self.reason or other.reason
        self.roles |= other.roles
        self.span |= other.span

    def like(self, size: int) -> Leaf:
        """Return a new leaf about which the same is known."""
        return Leaf(size, self.reason, set(self.roles), self.span, self.loose)


@dataclass(frozen=True, eq=False)
class Prod:
    """Mixed-radix product, major part first. Empty: a single position."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Sum:
    """Concatenation in order."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Same:
    """Positions at which a tensor does not vary; agrees with any term."""

    size: int


@dataclass(frozen=True, eq=False)
class Cut:
    """A dimension of slots; other dimensions of the tensor may differ from slot to slot."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """A dimension whose term is `variants[i]` in slot i of `cut`."""

    cut: Cut
    variants: tuple[Term, ...]


Term = Leaf | Prod | Sum | Same | Cut | Case
UNIT = Prod(())


def resolve(term: Term) -> Term:
    """Follow the bindings of a leaf to its end."""
    while isinstance(term, Leaf) and term.bound is not None:
        term = term.bound
    return term


def size_of(term: Term) -> int:
    """Positions of a dimension."""
    match term:
        case Prod(parts):
            return prod(map(size_of, parts))
        case Sum(parts) | Cut(parts):
            return sum(map(size_of, parts))
        case Case(_, variants):
            return size_of(variants[0])
        case Leaf() | Same():
            return term.size


def normal(term: Term) -> Term:
    """Return the term with bindings followed, products and sums flat and single positions dropped from products."""
    term = resolve(term)
    if isinstance(term, Prod):
        parts = [p for part in map(normal, term.parts) for p in (part.parts if isinstance(part, Prod) else (part,))]
        kept = [p for p in parts if size_of(p) != 1]
        return product(kept) if kept else UNIT
    if isinstance(term, Sum | Cut):
        parts = [p for part in map(normal, term.parts) for p in (part.parts if isinstance(part, Sum) else (part,))]
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))
    return term


def product(parts: list[Term]) -> Term:
    """Return the product of some terms, in order."""
    return parts[0] if len(parts) == 1 else Prod(tuple(parts))


def concatenation(parts: list[Term]) -> Term:
    """Return the sum of some terms, in order."""
    return parts[0] if len(parts) == 1 else Sum(tuple(parts))


def leaves(term: Term) -> Iterator[Leaf]:
    """Yield the unbound leaves of a term, left to right."""
    term = resolve(term)
    match term:
        case Leaf():
            yield term
        case Prod(parts) | Sum(parts) | Cut(parts) | Case(_, parts):
            for part in parts:
                yield from leaves(part)


def fix(term: Term, reason: str) -> None:
    """Fix the order of every leaf in a term."""
    for leaf in leaves(term):
        leaf.reason = leaf.reason or reason


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
