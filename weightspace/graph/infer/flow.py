"""Who reads whom: axes are united along the flow of data, from names and sizes alone.

Each module is seen from outside as a `Piece`: the axis it reads, the one it writes, and what others may read from
inside. A container whose pieces fit end to end is a chain. Where they do not, the earlier piece of the right size is
read; where several could be, they are tied, which takes freedom away but is never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from weightspace.graph.axes import Leaf, Prod, Span
from weightspace.graph.infer.tree import WEIGHTS, Node
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds.layer import Layer

FLATTENED = "flattened in an order that the file does not show"
UNPLACED = ""


@dataclass
class Piece:
    """A layer or container as its surroundings see it.

    Args:
        node: The module.
        entry: Axis that it reads; None for embeddings.
        exit: Axis that it writes.
        exposed: Axes that other modules may read, in order.
        loose: Entries that nothing inside explains.
        spatial: Whether it writes maps.
    """

    node: Node
    entry: str | None
    exit: str | None
    exposed: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    spatial: bool = False


class Flow:
    """Wires a tree of modules."""

    def __init__(self, wires: Wires, flatten: str | None) -> None:
        self.wires = wires
        self.flatten = flatten

    def visit(self, node: Node) -> Piece | None:
        """Wire everything inside `node` and return it as a piece; None if it holds nothing to wire."""
        own = [self._leaf(node, node.layer)] if node.layer is not None else []
        inside = [p for p in (*own, *map(self.visit, node.children.values())) if p is not None]
        if not inside:
            return None
        if len(inside) == 1:
            inside[0].node = node
            return inside[0]
        return self._chain(node, inside)

    def _leaf(self, node: Node, layer: Layer) -> Piece | None:
        if layer.op == "opaque":
            return None
        exposed = [layer.exit] if layer.op in WEIGHTS else []
        return Piece(node, layer.entry, layer.exit, exposed, [], layer.spatial)

    def _size(self, axis: str) -> int:
        return self.wires.sizes[axis]

    def _chain(self, node: Node, pieces: list[Piece]) -> Piece:
        first = pieces[0]
        whole = Piece(node, first.entry, first.exit, list(first.exposed), list(first.loose), first.spatial)
        for piece in pieces[1:]:
            if piece.entry is not None and not self._join(whole, piece):
                whole.loose.append(piece.entry)
            whole.exit = piece.exit
            whole.spatial = piece.spatial or (
                whole.spatial and piece.node.layer is not None and _passes(piece.node.layer)
            )
            whole.exposed += piece.exposed
            whole.loose += piece.loose
        return whole

    def _join(self, whole: Piece, piece: Piece) -> bool:
        """Let `piece` read what `whole` has written so far; False if nothing fits."""
        assert piece.entry is not None
        wanted = self._size(piece.entry)
        if whole.exit is not None and self._size(whole.exit) == wanted:
            self.wires.unite(whole.exit, piece.entry)
            return True
        earlier = [axis for axis in whole.exposed if self._size(axis) == wanted]
        if whole.entry is not None and self._size(whole.entry) == wanted:
            earlier.append(whole.entry)
        for axis in earlier:
            self.wires.unite(axis, piece.entry)
        return bool(earlier) or self._unflatten(whole, piece.entry, wanted)

    def _unflatten(self, whole: Piece, entry: str, wanted: int) -> bool:
        if whole.exit is None or not whole.spatial or wanted % self._size(whole.exit):
            return False
        taps = Span(wanted // self._size(whole.exit))
        channels = Leaf(whole.exit)
        if self.flatten is None:
            self.wires.mark(entry, "fixed", FLATTENED)
            self.wires.mark(whole.exit, "fixed", FLATTENED)
        else:
            self.wires.bind(entry, Prod((channels, taps) if self.flatten == "first" else (taps, channels)), FLATTENED)
        return True


def _passes(layer: Layer) -> bool:
    return layer.op in ("norm", "scale")
