"""Which axis lives in the units of which: units of each head, channels of each group.

A leaf may have another order in each unit of another leaf if the two occur together in every tensor, and if no
operation mixes the units of the other while it treats the leaf alike at each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product as combinations
from math import prod

from weightspace.graph.trace.terms import Case, Cut, Leaf, Prod, Sum, Term, leaves, normal

Monomial = tuple[Leaf, ...]
MOST_MONOMIALS = 4096


def find_parents(
    tensors: Iterable[tuple[Term, ...]],
    mixed: Iterable[tuple[tuple[Term, ...], tuple[Term, ...]]],
    stored: list[Leaf],
) -> dict[Leaf, Leaf]:
    """Return the parent of each leaf that has one; lineages are chains.

    Args:
        tensors: Terms of every tensor of the program.
        mixed: For each operation, what it combines and what it is batched over.
        stored: Leaves of the parameters, in order; only these have parents.
    """
    candidates = _together(tensors, stored)
    for inner, outer in mixed:
        batched = {leaf for term in outer for leaf in leaves(term)}
        gone = {leaf for term in inner for leaf in leaves(term)} - batched
        for leaf in batched & candidates.keys():
            candidates[leaf] -= gone
    rank = {leaf: i for i, leaf in enumerate(stored)}
    parents: dict[Leaf, Leaf] = {}
    for leaf in sorted(stored, key=lambda leaf: (len(candidates[leaf]), rank[leaf])):
        options = [p for p in candidates[leaf] if _may_own(p, leaf, candidates, parents)]
        if options:
            parents[leaf] = max(options, key=lambda p: (prod(a.size for a in _line(p, parents)), -rank[p]))
    return parents


def _together(tensors: Iterable[tuple[Term, ...]], stored: list[Leaf]) -> dict[Leaf, set[Leaf]]:
    """For each stored leaf, the stored leaves that pick one of its copies wherever it occurs."""
    usable = {leaf for leaf in stored if leaf.size > 1}
    found: dict[Leaf, set[Leaf]] = {}
    for terms in tensors:
        dims = [_monomials(term) for term in terms]
        for d, dim in enumerate(dims):
            for monomial in dim:
                for leaf in monomial:
                    if leaf in usable:
                        partners = _partners(leaf, monomial, dims[:d] + dims[d + 1 :])
                        found[leaf] = found[leaf] & partners if leaf in found else partners
    return {leaf: {p for p in found.get(leaf, set()) if p in usable and not p.span} for leaf in stored}


def _partners(leaf: Leaf, monomial: Monomial, others: list[list[Monomial]]) -> set[Leaf]:
    counts = Counter(monomial)
    if counts[leaf] > 1:
        return set()
    here = {other for other, n in counts.items() if n == 1 and other is not leaf}
    places = Counter(other for dim in others for other in {x for m in dim for x in m})
    always = {
        other
        for dim in others
        if dim
        for other in set.intersection(*(set(m) for m in dim))
        if places[other] == 1 and all(m.count(other) == 1 for m in dim)
    }
    return here | {other for other in always if counts[other] == 0 and other is not leaf}


def _monomials(term: Term) -> list[Monomial]:
    term = normal(term)
    match term:
        case Leaf():
            return [(term,)]
        case Sum(parts) | Cut(parts):
            return [m for part in parts for m in _monomials(part)]
        case Case(_, variants):
            return [m for part in variants for m in _monomials(part)]
        case Prod(parts):
            factors = [_monomials(part) for part in parts]
            if prod(map(len, factors)) > MOST_MONOMIALS:
                return [()]
            return [sum(chosen, ()) for chosen in combinations(*factors)]
    return [()]


def _line(leaf: Leaf, parents: Mapping[Leaf, Leaf]) -> list[Leaf]:
    return [leaf, *(_line(parents[leaf], parents) if leaf in parents else [])]


def _may_own(parent: Leaf, leaf: Leaf, candidates: Mapping[Leaf, set[Leaf]], parents: Mapping[Leaf, Leaf]) -> bool:
    line = _line(parent, parents)
    return leaf not in line and all(above in candidates[leaf] for above in line)
