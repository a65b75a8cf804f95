"""Checkpoints that are one network in disguise: relabelled, rescaled, rounded or slightly noised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from weightspace.checkpoint.digest import content_hash
from weightspace.inspect.collection import Collection, Progress
from weightspace.inspect.peers import Orders, Peers, group_peers, moved_share, relative_distance
from weightspace.inspect.rounding import network_bits, stored_bits

LIMIT, LOOSE, KIN, SAME, CHUNK = 0.05, 0.2, 0.5, 1e-5, 512


@dataclass(frozen=True)
class CopyPair:
    """Two checkpoints that are one network, with the evidence.

    Args:
        a: Name of one of them.
        b: Name of the other.
        distance: Of the weights once units are matched and balanced, relative to their size; independent runs of one
            architecture are about 1 apart, see `LIMIT`.
        unaligned: The same as they are stored.
        relabelled: Share of hidden units that stand elsewhere.
        rescaled: Whether units had to be rescaled to match.
        values: What became of the numbers: `same`, `float16`, `8 bits` (or fewer), `noise`.
        exact: Whether the stored weights are equal bit for bit.
    """

    a: str
    b: str
    distance: float
    unaligned: float
    relabelled: float
    rescaled: bool
    values: str
    exact: bool

    @property
    def kind(self) -> str:
        """What was done, in words: `exact`, or some of `relabelled`, `rescaled` and what became of the numbers."""
        done = ["relabelled"] if self.relabelled else []
        done += ["rescaled"] if self.rescaled else []
        done += {"same": [], "noise": ["noised or slightly trained"]}.get(self.values, [f"rounded to {self.values}"])
        return "exact" if self.exact else " + ".join(done) or "same numbers, stored otherwise"


@dataclass(frozen=True, eq=False)
class Duplicates:
    """All pairs that were found.

    Args:
        pairs: Within groups, each with its evidence.
        looked_at: Names of all checkpoints that were compared.
    """

    pairs: tuple[CopyPair, ...]
    looked_at: tuple[str, ...]

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Checkpoints that are copies of each other, directly or through others; the largest groups first."""
        links: dict[str, set[str]] = {}
        for pair in self.pairs:
            links.setdefault(pair.a, {pair.a}).add(pair.b)
            links.setdefault(pair.b, {pair.b}).add(pair.a)
        order = {name: n for n, name in enumerate(self.looked_at)}
        groups: list[tuple[str, ...]] = []
        seen: set[str] = set()
        for name in links:
            waiting, group = [name], set[str]()
            while waiting:
                here = waiting.pop()
                if here not in group:
                    group.add(here)
                    waiting += links[here]
            if not group & seen:
                groups.append(tuple(sorted(group, key=order.__getitem__)))
                seen |= group
        return tuple(sorted(groups, key=lambda group: (-len(group), order[group[0]])))

    def as_dict(self) -> dict[str, Any]:
        """Return groups and evidence as JSON takes them."""
        pairs = [{**asdict(pair), "kind": pair.kind} for pair in self.pairs]
        return {"compared": len(self.looked_at), "groups": [list(group) for group in self.groups], "pairs": pairs}


def find_duplicates(collection: Collection, *, progress: Progress | None = None) -> Duplicates:
    """Find all pairs that differ by relabelling, positive rescaling, rounding or a little noise.

    Only networks with equal names and shapes are compared. Every unit is first rescaled so that it writes as much as
    it reads, where a stored program shows that this keeps the function. Pairs whose profiles (see `Peers.profiles`)
    are more than `LOOSE` apart are so under any relabelling and are never aligned. The units of the others are
    matched, and pairs at most `LIMIT` apart, in the scale of either of them or balanced, are copies: noise of one size
    looks larger after rescaling. Networks of zeros are left out.

    Args:
        collection: What to search.
        progress: Told how many of how many candidate pairs are aligned.
    """
    peers = [group for group in group_peers(collection.checkpoints) if len(group.ids) > 1]
    work = [(group, a, b) for group in peers for a, b in _candidates(group)]
    found = []
    for done, (group, a, b) in enumerate(work, 1):
        pair = _compare(group, a, b)
        found += [pair] if pair is not None else []
        if progress:
            progress(done, len(work))
    return Duplicates(tuple(found), tuple(collection.checkpoints))


def _candidates(peers: Peers) -> Iterator[tuple[int, int]]:
    """Yield pairs whose lower bound is within the loose limit."""
    rows = peers.balanced
    profiles = peers.profiles(rows)
    size = np.linalg.norm(rows, axis=1)
    square = np.einsum("mn,mn->m", profiles, profiles)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        apart = square[part, None] + square - 2 * (profiles[part] @ profiles.T)
        near = apart <= LOOSE**2 * size[part, None] * size
        for a, b in np.argwhere(near & (size[part, None] > 0) & (size > 0)):
            if start + a < b:
                yield int(start + a), int(b)


def _compare(peers: Peers, a: int, b: int) -> CopyPair | None:
    """Match the units of two networks; None if they are no copies."""
    pair = peers.balanced[[a, b]]
    orders: Orders = {}
    distance = unmatched = relative_distance(*pair)
    if unmatched > SAME:
        orders = peers.orders(*pair)
        distance = _least_distance(peers, a, b, orders)
    ours = peers.moved(peers.rows[a], orders)
    matched = peers.moved(pair[0], orders)
    if distance > LIMIT or relative_distance(matched[peers.reading], pair[1][peers.reading]) > KIN:
        return None
    return CopyPair(
        a=peers.ids[a],
        b=peers.ids[b],
        distance=distance,
        unaligned=relative_distance(peers.rows[a], peers.rows[b]),
        relabelled=moved_share(orders) if unmatched > distance + SAME else 0.0,
        rescaled=relative_distance(ours, peers.rows[b]) > 3 * distance + 1e-4,
        values=_values(peers, a, b, distance),
        exact=content_hash(peers.checkpoints[a]) == content_hash(peers.checkpoints[b]),
    )


def _least_distance(peers: Peers, a: int, b: int, orders: Orders) -> float:
    """Distance once units match: balanced, or with one of the two brought to the scale of the other."""
    ours, theirs = peers.moved(peers.balanced[a], orders), peers.balanced[b]
    stored = peers.moved(peers.rows[a], orders), peers.rows[b]
    scales = [
        np.divide(raw, row, out=np.ones_like(raw), where=row != 0)
        for raw, row in zip(stored, (ours, theirs), strict=True)
    ]
    return min(relative_distance(ours * scale, theirs * scale) for scale in (1.0, *scales))


def _values(peers: Peers, a: int, b: int, distance: float) -> str:
    """Say what became of the numbers of two networks that match."""
    if distance <= SAME:
        return "same"
    sides = [[peers.checkpoints[i].tensors[n].double().numpy() for n in peers.blocks] for i in (a, b)]
    bits = [network_bits(side) for side in sides]
    if bits[0] != bits[1]:
        return f"{min(n for n in bits if n is not None)} bits"
    half = [stored_bits(side) == 16 for side in sides]
    return "float16" if any(half) and distance <= 1e-3 else "noise"
