"""Who descends from whom among checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from weightspace.inspect.collection import Collection, Progress
from weightspace.inspect.families import RELATED, Family, find_families
from weightspace.inspect.kinship import Descent, Kinship
from weightspace.inspect.peers import group_peers

MADE, MERGED, MOVED, DIRECTION, SURE, SHAPE = 0.1, 1.5, 1.0, 0.5, 0.98, 0.5
"""Costs, in logarithms of squared distance: of a parent that was itself copied, pruned or rounded; of one that was
merged (a midpoint is near to everything around its ends); of units in another order; of a step against the growth of
weights. Then how sure it is that pruning, rounding and merging run forwards, and how much the shape of the tree counts
against the growth of weights. Set on the population that ships, on four others of its recipe and one of chains.
"""


@dataclass(frozen=True, eq=False)
class Lineage:
    """Families as directed graphs without cycles; a merge has two parents.

    Args:
        nodes: Names of all checkpoints.
        edges: From parents to children.
    """

    nodes: tuple[str, ...]
    edges: tuple[Descent, ...]

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """Checkpoints without a parent here, those without children last."""
        children, parents = {e.child for e in self.edges}, {e.parent for e in self.edges}
        found = [node for node in self.nodes if node not in children]
        return tuple(sorted(found, key=lambda node: node not in parents))

    @property
    def graph(self) -> nx.DiGraph:
        """As a networkx graph; edges carry operation, distance, confidence and direction."""
        found = nx.DiGraph()
        found.add_nodes_from((node, {"root": node in self.roots}) for node in self.nodes)
        for edge in self.edges:
            data = {k: v for k, v in asdict(edge).items() if k not in ("parent", "child")}
            found.add_edge(edge.parent, edge.child, **data)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return nodes, roots and edges as JSON takes them."""
        return {
            "nodes": list(self.nodes),
            "roots": list(self.roots),
            "edges": [asdict(edge) for edge in self.edges],
        }


def trace_lineage(collection: Collection, *, progress: Progress | None = None) -> Lineage:
    """Find who descends from whom.

    Networks of equal names and shapes whose weights are near, once units are matched, are families; independent runs
    stay apart (see `find_families`). Within a family, copies and what was made by pruning, rounding or merging are
    recognised by their traces. The others are joined by the cheapest tree, near pairs first and forwards in training
    where the growth of weights tells; its root is the most likely one, by growth and by the shape of the tree.

    Args:
        collection: The checkpoints.
        progress: Told how many of how many architectures are done.

    Source:
        Horwitz et al. (2025), "Unsupervised model tree heritage recovery" (a directed minimum spanning tree of weight
        distances, direction by a statistic of the weights); Bubeck et al. (2017), "Finding Adam in random growing
        trees" (the root by the sizes of subtrees). Matching units, traces and merges are ours.
    """
    groups = group_peers(collection.checkpoints)
    edges: list[Descent] = []
    for done, peers in enumerate(groups, 1):
        families = find_families(peers) if len(peers.ids) > 1 else []
        for family in families:
            if len(family.members) > 1:
                edges += _Tree(Kinship(family)).edges()
        if progress:
            progress(done, len(groups))
    order = {name: n for n, name in enumerate(collection.checkpoints)}
    edges.sort(key=lambda e: (order[e.child], order[e.parent]))
    return Lineage(tuple(order), tuple(edges))


class _Tree:
    """The tree of one family."""

    def __init__(self, kin: Kinship):
        self.kin = kin
        self.family: Family = kin.family
        self.copied = kin.copies()
        originals = [k for k in range(len(self.family.members)) if k not in self.copied]
        self.derived = kin.derived(originals)
        self.trained = [k for k in originals if k not in self.derived]
        self.parents = self._span()

    def _span(self) -> dict[int, int]:
        """Parent of each member but one, by the cheapest tree."""
        graph = nx.DiGraph()
        for child in range(len(self.family.members)):
            graph.add_edge("root", child, weight=1e4 if child in self.trained else 1e6)
            if child in self.copied:
                graph.add_edge(self.copied[child][0], child, weight=-100.0)
            elif child in self.derived:
                graph.add_edge(self.derived[child][0][0], child, weight=-100.0)
            else:
                others = (k for k in range(len(self.family.members)) if k != child and not self._made_from(k, child))
                graph.add_weighted_edges_from((k, child, self._cost(k, child)) for k in others)
        tree = nx.minimum_spanning_arborescence(graph)
        return self._turned({child: parent for parent, child in tree.edges if parent != "root"})

    def _made_from(self, k: int, parent: int) -> bool:
        """Whether `k` was copied, pruned, rounded or merged from `parent`."""
        copied = k in self.copied and self.copied[k][0] == parent
        return copied or (k in self.derived and parent in self.derived[k][0])

    def _cost(self, parent: int, child: int) -> float:
        backwards = float(np.logaddexp(0, -2 * sum(self.kin.growth(parent, child))))
        made = MADE * (parent in self.derived or parent in self.copied)
        made = MERGED if self.derived.get(parent, ((), ""))[1] == "merged" else made
        moved = MOVED * (self.family.labels[parent] != self.family.labels[child])
        near = max(self.kin.apart[parent, child], 1e-12)
        return 2 * float(np.log(near)) + DIRECTION * backwards + made + moved

    def _turned(self, parents: dict[int, int]) -> dict[int, int]:
        """Turn the tree so that the likeliest member is its root; keep how likely each is in `self.likely`."""
        tree = nx.Graph((parent, child) for child, parent in parents.items())
        tree.add_nodes_from(self.trained)
        scores = {root: self._score(nx.dfs_tree(tree, root), root, parents) for root in self.trained}
        top = max(scores.values())
        weights = {root: float(np.exp(score - top)) for root, score in scores.items()}
        self.likely = {root: weight / sum(weights.values()) for root, weight in weights.items()}
        best = max(self.likely, key=lambda root: self.likely[root])
        return {int(child): int(parent) for parent, child in nx.dfs_tree(tree, best).edges}

    def _score(self, tree: nx.DiGraph, root: int, parents: dict[int, int]) -> float:
        """Logarithm of how likely the tree grew from this root: directions of its edges, and sizes of its subtrees."""
        total = 0.0
        for parent, child in tree.edges:
            fixed = next((k for k in (child, parent) if k in self.copied or k in self.derived), None)
            if fixed is not None and parents.get(fixed) in (parent, child):
                total += float(np.log(SURE if fixed == child else 1 - SURE))
            else:
                whole, reading, _ = self.kin.growth(parent, child)
                total -= float(np.logaddexp(0, -whole - reading))
        sizes: dict[int, int] = {}
        for node in nx.dfs_postorder_nodes(tree, root):
            sizes[node] = 1 + sum(sizes[child] for child in tree.successors(node))
            total -= SHAPE * float(np.log(sizes[node]))
        return total

    def edges(self) -> list[Descent]:
        """All edges with their confidence; the second parent of a merge, too."""
        found = []
        for child, parent in self.parents.items():
            merged = child in self.derived and self.derived[child][1] == "merged"
            both = self.derived[child][0] if merged and parent in self.derived[child][0] else (parent,)
            found += [self._edge(one, child) for one in both]
        return found

    def _edge(self, parent: int, child: int) -> Descent:
        operation, sure = "trained", 0.0
        if child in self.copied and self.copied[child][0] == parent:
            _, operation, sure = self.copied[child]
        elif child in self.derived and parent in self.derived[child][0]:
            operation, sure = self.derived[child][1], SURE
        distance = float(self.kin.relative[parent, child])
        return Descent(
            self._name(parent),
            self._name(child),
            operation,
            distance,
            self._confidence(parent, child) if operation == "trained" else SURE,
            sure or self._direction(child),
        )

    def _name(self, k: int) -> str:
        return self.family.peers.ids[self.family.members[k]]

    @cached_property
    def _tree(self) -> nx.DiGraph:
        return nx.DiGraph((parent, child) for child, parent in self.parents.items())

    def _side(self, child: int) -> set[int]:
        """Members that hang on the edge above `child`."""
        return {child, *nx.descendants(self._tree, child)}

    def _confidence(self, parent: int, child: int) -> float:
        """How much nearer the two are than independent runs, and than the next link of the two sides."""
        kin, limit = 1 - (self.kin.relative[parent, child] / RELATED) ** 2 / 2, 1.0
        side = self._side(child)
        below = [k for k in self.trained if k in side]
        above = [k for k in self.trained if k not in side]
        others = self.kin.apart[np.ix_(above, below)] ** 2
        if parent in above and child in below:
            others[above.index(parent), below.index(child)] = np.inf
        nearest = float(others.min(initial=np.inf))
        if np.isfinite(nearest):
            limit = nearest / (nearest + float(self.kin.apart[parent, child]) ** 2)
        return float(min(kin, limit))

    def _direction(self, child: int) -> float:
        """Share of the likely roots that lie above the edge."""
        below = self._side(child)
        return float(sum(p for root, p in self.likely.items() if root not in below))
