"""The order of layers that only carry running numbers, one counter a kind (Keras' `conv2d_1`, `depthwise_conv2d_1`)."""

from __future__ import annotations

import re
from itertools import pairwise

from weightspace.graph.infer.names import natural
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.tree import rank
from weightspace.graph.infer.wires import Wires

AUTOMATIC = re.compile(r"^((depthwise_|separable_)?conv[123]d(_transpose)?|conv2d_transpose)(_\d+)?$")


def ordered(wires: Wires, pieces: list[Piece]) -> tuple[list[Piece], bool]:
    """Merge the counters so that sizes fit end to end, and say whether they do; leave the order if they cannot."""
    counted = [p for p in pieces if AUTOMATIC.match(p.node.name) and p.weighted]
    queues: dict[str, list[Piece]] = {}
    for piece in sorted(counted, key=lambda p: natural(p.node.name)):
        queues.setdefault(re.sub(r"_\d+$", "", piece.node.name), []).append(piece)
    if len(queues) < 2:
        return pieces, False
    found = _merge(wires, [], [list(queue) for queue in queues.values()])
    if found is None:
        return pieces, False
    place = min(pieces.index(p) for p in counted)
    rest = [p for p in pieces if p not in counted]
    return [*rest[:place], *found, *rest[place:]], True


def _merge(wires: Wires, done: list[Piece], queues: list[list[Piece]]) -> list[Piece] | None:
    if not any(queues):
        return done
    for n, queue in enumerate(queues):
        if queue and _follows(wires, done, queue[0]):
            rest = [other[1:] if m == n else other for m, other in enumerate(queues)]
            found = _merge(wires, [*done, queue[0]], rest)
            if found is not None:
                return found
    return None


def _follows(wires: Wires, done: list[Piece], piece: Piece) -> bool:
    if not done or piece.entry is None or done[-1].exit is None:
        return True
    return wires.sizes[done[-1].exit] == wires.sizes[piece.entry]


def greedy(wires: Wires, pieces: list[Piece]) -> tuple[list[Piece], bool]:
    """Order modules listed by alphabet, and say whether they had to be moved.

    Where the given order fits end to end it stays. Else what reads the last output comes next, then what reads
    something earlier; modules of one name keep the order of their numbers.
    """
    weighted = [p for p in pieces if p.weighted or p.entry is None]
    if len(weighted) < 2 or _fits(wires, weighted):
        return pieces, False
    queues: dict[str, list[Piece]] = {}
    for piece in weighted:
        queues.setdefault(re.sub(r"\d+", "", piece.node.name), []).append(piece)
    done: list[Piece] = []
    while any(queues.values()):
        heads = [queue[0] for queue in queues.values() if queue]
        best = min(heads, key=lambda p: (_rank(wires, p, done, weighted), rank(p.node), weighted.index(p)))
        done.append(best)
        queues[re.sub(r"\d+", "", best.node.name)].pop(0)
    filled = iter(done)
    return [next(filled) if p in weighted else p for p in pieces], done != weighted


def _fits(wires: Wires, pieces: list[Piece]) -> bool:
    """Whether each reads the one before it, flattened or not, or is a head that reads an earlier one."""
    sizes: set[int] = set()
    for before, piece in pairwise(pieces):
        sizes |= {wires.sizes[axis] for axis in (before.entry, *before.exposed) if axis is not None}
        if _follows(wires, [before], piece) or piece.entry is None or before.exit is None:
            continue
        wanted, last = wires.sizes[piece.entry], wires.sizes[before.exit]
        flattens = before.spatial and wanted % last == 0 and piece.inner[0].op in ("linear", "recurrent")
        if not flattens and not (rank(piece.node) >= 3 and wanted in sizes):
            return False
    return True


def _rank(wires: Wires, piece: Piece, done: list[Piece], every: list[Piece]) -> int:
    """0 reads the last output, 1 an earlier one, 2 a sum of earlier ones, 3 nothing known; a start reads no output."""
    if piece.entry is None:
        return 0
    wanted = wires.sizes[piece.entry]
    if not done:
        exits = {wires.sizes[p.exit] for p in every if p.exit is not None}
        return 0 if rank(piece.node) == 0 or (piece.is_conv and wanted <= 4) else 1 if wanted not in exits else 2
    sizes = {wires.sizes[axis] for p in done for axis in (p.entry, *p.exposed) if axis is not None}
    last = done[-1].exit
    if last is not None and wires.sizes[last] == wanted:
        return 0
    if wanted in sizes:
        return 1
    pairs = {a + b for a in sizes for b in sizes}
    return 2 if wanted in pairs | {a + b for a in pairs for b in sizes} else 3
