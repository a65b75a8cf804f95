"""What each dimension of a traced tensor runs over; `unify` makes two of them one.

    Leaf                   units of one axis, not known to have parts
    Prod((a, b))           a reshape: a major, b minor
    Sum((a, b))            a concatenation
    Same(n)                the tensor has the same value at all n positions
    Cut(parts), Case(cut, variants)   a slot dimension and what depends on it: `view(3, heads, units)` of fused q, k, v

A leaf binds lazily: to a product where a reshape splits it, to a sum where a slice does. What can't be split is never
guessed: all leaves of both sides are fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
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
