"""The order of layers that only carry running numbers, one counter a kind (Keras' `conv2d_1`, `depthwise_conv2d_1`)."""

from __future__ import annotations

import re

from weightspace.graph.infer.names import natural
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.wires import Wires

AUTOMATIC = re.compile(r"^((depthwise_|separable_)?conv[123]d(_transpose)?|conv2d_transpose)(_\d+)?$")


def ordered(wires: Wires, pieces: list[Piece]) -> list[Piece]:
    """Merge the counters so that sizes fit end to end; leave the order as it is if they cannot."""
    counted = [p for p in pieces if AUTOMATIC.match(p.node.name) and p.weighted]
    queues: dict[str, list[Piece]] = {}
    for piece in sorted(counted, key=lambda p: natural(p.node.name)):
        queues.setdefault(re.sub(r"_\d+$", "", piece.node.name), []).append(piece)
    if len(queues) < 2:
        return pieces
    found = _merge(wires, [], [list(queue) for queue in queues.values()])
    if found is None:
        return pieces
    place = min(pieces.index(p) for p in counted)
    rest = [p for p in pieces if p not in counted]
    return [*rest[:place], *found, *rest[place:]]


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
