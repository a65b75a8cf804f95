"""Networks that were not trained apart: families of one architecture, all brought to one labelling of their units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightspace.inspect.peers import Orders, Peers, relative_distance, relative_distances

RELATED = 0.8
"""Relative distance below which two networks are kin: of 6 small CNN and 4 perceptron architectures, the nearest of
some 2,700 pairs of independent runs were 0.97 apart once aligned, and the farthest members of one tree 0.75."""
NULLS, BELOW_NULL, TRIES = 4, 0.9, 4


@dataclass(frozen=True, eq=False)
class Family:
    """Kin.

    Args:
        peers: Of the whole architecture.
        members: Which of them.
        rows: Weights `(members, numbers)`, all in the labelling of the first.
        labels: For each member, a number: equal for members that share their labelling as they are stored.
    """

    peers: Peers
    members: tuple[int, ...]
    rows: np.ndarray
    labels: np.ndarray


def find_families(peers: Peers) -> list[Family]:
    """Split networks into families, lone networks included.

    Two are kin if their weights are near as they are stored, or once units are matched. The second is tried with the
    nearest few in what no relabelling changes (see `Peers.profiles`). Near means `RELATED`, or less where networks of
    the same numbers in random places come nearer than that: small ones fit anything.
    """
    rows = peers.rows
    limit = kin_limit(peers)
    stored = relative_distances(rows[:, peers.reading]) <= limit
    np.fill_diagonal(stored, False)
    labels = _components(stored)
    matched = _matched(peers, labels, limit)
    links = stored.copy()
    for a, b in matched:
        links[a, b] = links[b, a] = True
    families = _components(links)
    return [_gather(peers, np.flatnonzero(families == k), stored, matched, labels) for k in np.unique(families)]


def kin_limit(peers: Peers) -> float:
    """Relative distance below which two networks of this architecture are kin, see `find_families`."""
    rng = np.random.default_rng(0)
    count = len(peers.ids)
    nulls = []
    for _ in range(NULLS if count > 1 else 0):
        a, b = rng.choice(count, 2, replace=False)
        mixed = np.concatenate([rng.permutation(peers.rows[b, part]) for part in peers.slices.values()])
        nulls.append(_distance(peers, peers.rows[a], mixed, peers.orders(peers.rows[a], mixed)))
    return min([RELATED, *(BELOW_NULL * null for null in nulls)])


def _distance(peers: Peers, a: np.ndarray, b: np.ndarray, orders: Orders) -> float:
    """Relative distance of the weights that read units, once `a` is relabelled."""
    return relative_distance(peers.moved(a, orders)[peers.reading], b[peers.reading])


def _matched(peers: Peers, labels: np.ndarray, limit: float) -> dict[tuple[int, int], Orders]:
    """Pairs that are kin once units are matched: orders that bring the first to the labelling of the second."""
    groups = labels.copy()
    profiles = peers.profiles(peers.rows).astype(np.float64)
    apart = relative_distances(profiles)
    found: dict[tuple[int, int], Orders] = {}
    for a in np.argsort(np.bincount(labels)[labels], kind="stable"):  # small groups first: they are the odd ones
        tried = 0
        for b in np.argsort(apart[a], kind="stable"):
            if tried == TRIES or apart[a, b] > limit:
                break
            if groups[a] == groups[b]:
                continue
            tried += 1
            orders = peers.orders(peers.rows[a], peers.rows[b])
            if _distance(peers, peers.rows[a], peers.rows[b], orders) <= limit:
                found[int(a), int(b)] = orders
                groups[groups == groups[a]] = groups[b]
    return found


def _components(links: np.ndarray) -> np.ndarray:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components(csr_matrix(links), directed=False)[1])


def _gather(
    peers: Peers,
    members: np.ndarray,
    stored: np.ndarray,
    matched: dict[tuple[int, int], Orders],
    labels: np.ndarray,
) -> Family:
    """Bring all members to the labelling of the one with the most kin as stored."""
    hub = int(members[stored[np.ix_(members, members)].sum(0).argmax()])
    orders: dict[int, Orders] = {}
    placed: dict[int, np.ndarray] = {}
    waiting: list[tuple[int, Orders]] = [(hub, {})]
    while waiting:
        here, order = waiting.pop(0)
        if here in placed:
            continue
        orders[here], placed[here] = order, peers.moved(peers.rows[here], order)
        same = [int(k) for k in np.flatnonzero(stored[here]) if k not in placed]
        waiting = [(k, order) for k in same] + waiting
        for a, b in matched:
            other = b if a == here else a
            if here in (a, b) and other not in placed:
                waiting.append((other, peers.orders(peers.rows[other], placed[here])))
    found = tuple(sorted(placed, key=lambda k: (k != hub, k)))
    return Family(peers, found, np.stack([placed[k] for k in found]), labels[list(found)])
