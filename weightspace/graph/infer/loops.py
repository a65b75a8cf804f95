"""Two or three layers between two sizes, there and back: which size is outside shows only from outside.

A bottleneck `a: n -> m`, `b: m -> n` is also `b, a` between the other size; by alphabet `expand` comes before `reduce`.
The same of a gated pair: two layers go one way, one comes back, whatever their names.
"""

from __future__ import annotations

from collections import Counter

from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.ties import is_run, tie_by_size
from weightspace.graph.infer.tree import Node, rank
from weightspace.graph.infer.wires import Wires


def loop(wires: Wires, node: Node, pieces: list[Piece], in_order: bool) -> Piece | None:
    """Return the container as a piece that reads and writes one of two sizes; None if it is no loop or order shows."""
    weighted = [p for p in pieces if p.weighted]
    ways = Counter((wires.sizes[p.entry or ""], wires.sizes[p.exit or ""]) for p in weighted if p.entry and p.exit)
    if node.is_numbered or len(ways) != 2 or any(not p.is_single and not p.passes for p in pieces):
        return None
    (there, back) = sorted(ways, key=lambda way: -ways[way])
    fits = all({wires.sizes[p.entry or ""], wires.sizes[p.exit or ""]} <= set(there) for p in pieces)
    if there != back[::-1] or not fits or ways.total() > 3 or (ways.total() == 2 and _is_shown(weighted, in_order)):
        return None
    tie_by_size(wires, [axis for p in pieces for axis in (p.entry, p.exit)])
    last = next(p for p in weighted if wires.sizes[p.entry or ""] == back[0])
    made = Piece(node, last.exit, last.exit, [last.exit or ""], spatial=any(p.spatial for p in weighted))
    made.weighted, made.other = len(weighted), last.entry
    made.inner = tuple(layer for p in pieces for layer in p.inner)
    return made


def _is_shown(layers: list[Piece], in_order: bool) -> bool:
    one, other = layers
    return in_order or rank(one.node) != rank(other.node) or is_run(one, other)


def open_loops(wires: Wires, pieces: list[Piece]) -> str | None:
    """Let each loop read the size that its surroundings have; return the other axis if they are all loops."""
    loops = [p for p in pieces if p.other is not None]
    if loops and len(loops) == len(pieces):
        tie_by_size(wires, [axis for p in loops for axis in (p.entry, p.other)])
        return loops[0].other
    sides = [axis for p in pieces if p.other is None for axis in (p.entry, p.exit)]
    sizes = {wires.sizes[axis] for axis in sides if axis is not None}
    for piece in loops:
        outside = [axis for axis in (piece.entry, piece.other) if axis is not None and wires.sizes[axis] in sizes]
        if len(outside) == 1:
            piece.entry = piece.exit = outside[0]
            piece.exposed = [outside[0]]
        else:
            tie_by_size(wires, [*sides, piece.entry, piece.other])
        piece.other = None
    return None
