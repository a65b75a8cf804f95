"""Where a norm stands: names say which layer it belongs to, sizes whether it comes before or after it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from weightspace.graph.axes import Leaf, Term, leaves
from weightspace.graph.infer.fits import turn
from weightspace.graph.infer.names import natural
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.tree import Node
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds.layer import Layer

COUNTED = re.compile(
    r"^(batch_normalization|layer_normalization|batch_norm|instance_normalization|p_re_lu|prelu)(_\d+)?$"
)


GROUPED = "may be normalised in groups whose number is not in the file"
BY_GROUP = re.compile(r"(^|_)gn\d*($|_)|group_?norm", re.IGNORECASE)
BY_LAYER = re.compile(r"(^|_)ln(_|\d|$)|layer_?norm|layernorm|instance|rms", re.IGNORECASE)


def fix_groups(wires: Wires, layers: list[Layer]) -> None:
    """Fix what a norm without running statistics acts on beside convolutions, for it may be a group norm.

    Group norms are built where batch norms are: between convolutions. Elsewhere, and where the name says layer or
    instance norm, every unit is treated alike.
    """
    convs = [b for layer in layers if layer.op == "conv" for b in layer.blocks if len(b.dims) > 2]
    others = [b for layer in layers if layer.op in ("linear", "attention", "recurrent") for b in layer.blocks]
    read = _axes(wires, [b.in_axis for b in convs] + [b.out_axis for b in convs if b.kind == "depthwise"])
    linear = _axes(wires, [b.out_axis for b in others if b.in_axis])
    read |= _axes(wires, [b.out_axis for b in convs]) - linear
    for layer in layers:
        if layer.op != "norm" or {b.kind for b in layer.blocks} != {"norm scale", "norm shift"}:
            continue
        name = layer.path.rsplit(".", 1)[-1]
        axes = {leaf.axis for leaf in leaves(wires.term(Leaf(layer.exit)))}
        if BY_GROUP.search(name) or (axes & read and not BY_LAYER.search(name)):
            wires.mark(layer.exit, "fixed", GROUPED)


def _axes(wires: Wires, terms: Iterable[Term | None]) -> set[str]:
    return {leaf.axis for term in terms if term is not None for leaf in leaves(wires.term(term))}


def show_sides(wires: Wires, pieces: list[Piece]) -> None:
    """Turn a kernel that fits either way so that it writes what the norm right after it is as wide as."""
    for piece, after in pairwise(pieces):
        layer = piece.layer
        if layer is None or layer.op != "conv" or layer.sure or layer.entry is None or not after.passes:
            continue
        size, sides = wires.sizes[after.exit or ""], [wires.sizes[layer.entry], wires.sizes[layer.exit]]
        if size in sides and sides[0] != sides[1]:
            if size == sides[0]:
                turn(piece)
            layer.sure = True


def number(name: str) -> str:
    """Trailing number of a name, `''` if it has none."""
    found = re.search(r"(\d+(_\d+)*)(_?[A-Za-z]*)$", name)
    return found[1] if found and not re.search(r"\d+d$", name) else ""


def votes(root: Node) -> dict[tuple[str, str], int]:
    """Count, over the whole checkpoint, where sizes show a norm after (+1) or before (-1) the layer of its number."""
    found: dict[tuple[str, str], int] = {}
    for node in _containers(root):
        named = [c for c in node.children.values() if c.layer is not None and c.layer.entry is not None]
        norms = [c for c in named if c.layer and c.layer.op in ("norm", "scale")]
        layers = [c for c in named if c.layer and c.layer.op in ("conv", "linear")]
        for norm in norms:
            partner = _partner(norm.name, [c.name for c in layers])
            if partner is not None and norm.layer is not None:
                layer = node.children[partner].layer
                assert layer is not None and layer.entry is not None
                size = norm.layer.sizes[norm.layer.exit]
                after, before = layer.sizes[layer.exit] == size, layer.sizes[layer.entry] == size
                key = stems(norm.name, partner)
                found[key] = found.get(key, 0) + after - before
    return found


def stems(norm: str, layer: str) -> tuple[str, str]:
    """Names without their numbers: what is true of `bn1` and `conv1` is true of `bn2` and `conv2`."""
    return re.sub(r"\d+", "", norm), re.sub(r"\d+", "", layer)


def _containers(node: Node) -> Iterable[Node]:
    if node.children:
        yield node
    for child in node.children.values():
        yield from _containers(child)


def _partner(norm: str, layers: list[str]) -> str | None:
    """Name of the layer that a norm belongs to: it carries its name or its number, or is the only one."""
    begins = [name for name in layers if norm.startswith(name) and norm != name]
    if begins:
        return max(begins, key=len)
    same = [name for name in layers if number(name) == number(norm)]
    if len(same) == 1 and (number(norm) or len(layers) == 1):
        return same[0]
    return layers[0] if len(layers) == 1 else None


def placed(wires: Wires, pieces: list[Piece], seen: Mapping[tuple[str, str], int]) -> list[Piece]:
    """Return pieces with each norm moved before or after its layer; where neither is shown, both sides are tied."""
    if all(p.node.name.isdigit() for p in pieces):
        return pieces
    norms = [p for p in pieces if p.passes]
    layers = [p for p in pieces if p.weighted and p.entry is not None and p.exit is not None]
    counted = sorted((p for p in norms if COUNTED.match(p.node.name)), key=lambda p: natural(p.node.name))
    order, start = list(pieces), 0
    for norm in counted:
        start = _after_next(wires, order, norm, layers, start)
    for norm in norms:
        if norm in counted:
            continue
        partner = _partner(norm.node.name, [p.node.name for p in layers if p.layer is not None])
        if partner is not None:
            _beside(wires, order, norm, next(p for p in layers if p.node.name == partner), seen)
    return order


def _after_next(wires: Wires, order: list[Piece], norm: Piece, layers: list[Piece], start: int) -> int:
    """Put a norm that only has a running number after the next layer of its size."""
    assert norm.exit is not None
    for n in range(start, len(layers)):
        exit_ = layers[n].exit
        if exit_ is not None and wires.sizes[exit_] == wires.sizes[norm.exit]:
            order.remove(norm)
            order.insert(order.index(layers[n]) + 1, norm)
            return n + 1
    return start


def _beside(wires: Wires, order: list[Piece], norm: Piece, layer: Piece, seen: Mapping[tuple[str, str], int]) -> None:
    assert norm.exit is not None and layer.entry is not None and layer.exit is not None
    size = wires.sizes[norm.exit]
    after, before = wires.sizes[layer.exit] == size, wires.sizes[layer.entry] == size
    if not (after or before):
        return
    order.remove(norm)
    if after and before:
        shown = seen.get(stems(norm.node.name, layer.node.name), 0)
        after = shown >= 0
        if shown == 0 and wires.root(layer.entry) != wires.root(layer.exit):
            wires.unite(layer.entry, layer.exit)
    # Norms of one layer keep their order: the slope after the norm.
    place = order.index(layer) + 1 if after else order.index(layer)
    while after and place < len(order) and order[place].passes:
        place += 1
    order.insert(place, norm)
