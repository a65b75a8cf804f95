"""Ways in which one module may read what earlier ones wrote. Each returns whether it applies, and ties if so."""

from __future__ import annotations

import re
from itertools import combinations
from math import isqrt

from weightspace.graph.axes import Leaf, Prod, Span, Sum, leaves
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.tree import rank
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds.layer import Layer

FLATTENED = "flattened in an order that the file does not show"
CONCATENATED = "meets a concatenation whose order is not in the file"
REGROUPED = "split and merged by groups in an order that the file does not show"


def flipped(wires: Wires, whole: Piece, piece: Piece) -> bool:
    """A weight whose name and bias left open which side is read: the neighbour shows that it is the other one."""
    layer = piece.layer
    if layer is None or layer.sure or layer.op not in ("conv", "linear") or layer.entry == layer.exit:
        return False
    if whole.exit is None or wires.sizes[layer.exit] != wires.sizes[whole.exit]:
        return False
    turn(piece)
    assert piece.entry is not None
    wires.unite(whole.exit, piece.entry)
    return True


def turn_alike(wires: Wires, whole: Piece, piece: Piece) -> None:
    """Turn a square kernel, which fits either way, where those before it are transposed."""
    layer = piece.layer
    if layer is None or layer.sure or layer.op != "conv" or layer.entry is None or layer.entry == layer.exit:
        return
    views = [b.view for la in whole.inner for b in la.blocks if la.op == "conv" and "i" in b.view]
    if wires.sizes[layer.entry] == wires.sizes[layer.exit] and views and all(v.startswith("io") for v in views):
        turn(piece)


def turn(piece: Piece) -> None:
    """Exchange input and output of a piece that is one layer."""
    layer = piece.layer
    assert layer is not None and layer.entry is not None
    if piece.exit in piece.exposed:
        piece.exposed = [layer.entry]
    layer.flip()
    piece.entry, piece.exit = layer.entry, layer.exit


def grouped(wires: Wires, whole: Piece, piece: Piece) -> bool:
    """A convolution in groups: depthwise if it reads one channel a group, else each group keeps its place."""
    layer = piece.layer
    if layer is None or layer.op != "conv" or layer.entry is None or whole.exit is None or layer.entry == layer.exit:
        return False
    stream, read, written = wires.sizes[whole.exit], wires.sizes[layer.entry], wires.sizes[layer.exit]
    groups = stream // read
    if stream % read or groups < 2 or written % groups or not whole.spatial:
        return False
    if read == 1:
        _depthwise(wires, whole, piece, layer, written // groups)
        return True
    if _shuffles(groups):
        return False
    wires.bind(whole.exit, Prod((Span(groups), Leaf(layer.entry))), REGROUPED)
    inner = wires.add(f"{layer.path}.group", written // groups)
    wires.bind(layer.exit, Prod((Span(groups), Leaf(inner))), REGROUPED)
    return True


def _depthwise(wires: Wires, whole: Piece, piece: Piece, layer: Layer, multiplier: int) -> None:
    """One filter or several for each channel: the axis read is the axis written."""
    stream = whole.exit
    assert stream is not None
    layer.make_depthwise()
    wires.bind(layer.exit, Prod((Leaf(stream), Span(multiplier))) if multiplier > 1 else Leaf(stream), REGROUPED)
    piece.entry = layer.entry = stream


def _shuffles(groups: int) -> bool:
    """Whether `groups` may be the square of a pixel shuffle instead."""
    return isqrt(groups) ** 2 == groups and groups <= 16


def shuffled(wires: Wires, whole: Piece, piece: Piece, order: str | None) -> bool:
    """A pixel shuffle: `r * r` channels become one, channel major in PyTorch and minor in TensorFlow."""
    if piece.entry is None or whole.exit is None or not (whole.spatial and piece.spatial) or rank(piece.node) == 4:
        return False
    stream, read = wires.sizes[whole.exit], wires.sizes[piece.entry]
    squares = stream // read
    if stream % read or squares < 4 or isqrt(squares) ** 2 != squares:
        return False
    last = next((la for la in reversed(whole.inner) if la.op == "conv"), None)
    widened = last is not None and last.entry is not None and wires.sizes[last.entry] <= read
    rivals = [axis for axis in whole.exposed[:-1] if wires.sizes[axis] == read]  # it may read these instead
    if order is None or not widened or rivals:
        for axis in (whole.exit, piece.entry, piece.exit, *rivals):
            if axis is not None:
                wires.mark(axis, "fixed", REGROUPED)
        return True
    channel, square = Leaf(piece.entry), Span(squares)
    wires.bind(whole.exit, Prod((channel, square) if order == "first" else (square, channel)), REGROUPED)
    return True


def halved(wires: Wires, whole: Piece, piece: Piece) -> bool:
    """Halves that gate each other, or mean and variance: both halves keep one order of units."""
    if piece.entry is None or whole.exit is None or wires.sizes[whole.exit] != 2 * wires.sizes[piece.entry]:
        return False
    term = wires.term(Leaf(whole.exit))
    if isinstance(term, Sum) and len(term.parts) == 2 and all(isinstance(part, Leaf) for part in term.parts):
        for part in leaves(term):
            wires.unite(part.axis, piece.entry)
    else:
        wires.bind(whole.exit, Prod((Span(2), Leaf(piece.entry))), REGROUPED)
    return True


def flattened(wires: Wires, whole: Piece, piece: Piece, order: str | None) -> bool:
    """Maps flattened into one vector, as a fully connected or recurrent layer reads them."""
    first = next((la for la in piece.inner if la.entry is not None), None)
    if piece.entry is None or whole.exit is None or first is None or first.op not in ("linear", "recurrent", "norm"):
        return False
    stream, read = wires.sizes[whole.exit], wires.sizes[piece.entry]
    if not whole.spatial or read % stream or stream == 1:
        return False
    if piece.weighted > 1 and piece.exit is not None and wires.sizes[piece.exit] == read:
        order = None  # it may mix positions instead
    rivals = [axis for axis in (*whole.exposed, whole.entry) if axis is not None and wires.sizes[axis] == read]
    for axis in rivals:
        order = None  # it may read these instead
        wires.mark(axis, "fixed", FLATTENED)
    taps, channels = Span(read // stream), Leaf(whole.exit)
    if order is None:
        wires.mark(piece.entry, "fixed", FLATTENED)
        wires.mark(whole.exit, "fixed", FLATTENED)
    else:
        wires.bind(piece.entry, Prod((channels, taps) if order == "first" else (taps, channels)), FLATTENED)
    return True


def concatenated(wires: Wires, whole: Piece, piece: Piece) -> bool:
    """Earlier outputs side by side. Two of one size are tied, which fits either order; others are fixed."""
    if piece.entry is None:
        return False
    wanted = wires.sizes[piece.entry]
    pool = list(dict.fromkeys(filter(None, [*reversed(whole.exposed), whole.entry])))[:24]
    sums = [
        parts
        for count in (2, 3)
        for parts in combinations(pool, count)
        if sum(wires.sizes[axis] for axis in parts) == wanted
    ]
    current = [parts for parts in sums if whole.exit in parts]
    if not sums:
        return False
    chosen = current or sums
    if len(chosen) == 1 and len(chosen[0]) == 2 and wires.sizes[chosen[0][0]] == wires.sizes[chosen[0][1]]:
        a, b = chosen[0]
        wires.unite(a, b)
        wires.bind(piece.entry, Sum((Leaf(a), Leaf(a))), CONCATENATED)
        whole.joined += 1
        return True
    for axis in {piece.entry, *(axis for parts in chosen for axis in parts)}:
        wires.mark(axis, "fixed", CONCATENATED)
    return True


def widened(wires: Wires, whole: Piece, piece: Piece) -> bool:
    """The stream and something from outside side by side."""
    if piece.entry is None or whole.exit is None:
        return False
    stream, read = wires.sizes[whole.exit], wires.sizes[piece.entry]
    if not stream < read < 2 * stream:
        return False
    for axis in (piece.entry, *(a for a in whole.exposed if wires.sizes[a] < read)):
        wires.mark(axis, "fixed", CONCATENATED)
    return True


MERGES = re.compile(r"(^|[_ ])(cat|concat|merge|fus(e|ion)|up|dec|decoder|skip)(?![a-z])", re.IGNORECASE)


def merges(piece: Piece, previous: Piece) -> bool:
    """Whether a concatenation is likelier than a jump back: the last output would else go unread."""
    names = f"{piece.node.name} {previous.node.name}"
    raised = any(b.kind == "transposed conv" for layer in previous.inner for b in layer.blocks)
    return raised or bool(MERGES.search(names))
