"""The ends of the network: what it reads from outside, what it gives back, and what found no place."""

from __future__ import annotations

from weightspace.graph.axes import Leaf, leaves
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.tree import WEIGHTS
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds.layer import Layer

ORDERED = "may be what the network reads: the order of its layers is not in the file"
UNPLACED = "may meet a tensor of its size whose place is not in the file"
UNEXPLAINED = "may be part of a concatenation whose parts the file does not show"


def mark_ends(wires: Wires, whole: Piece, layers: list[Layer]) -> None:
    """Mark inputs, then whatever nobody reads as output."""
    if whole.exit is not None and whole.weighted:
        wires.mark(whole.exit, "output")
    if whole.entry is not None:
        wires.mark(whole.entry, "input")
    if whole.other is not None:
        wires.mark(whole.other, "fixed", ORDERED)
    for axis in whole.loose:
        wires.mark(axis, *(("input", "") if axis in _first_entries(layers) else ("fixed", "")))
        _fix_parts(wires, axis, whole)
    for layer in layers:
        if not layer.exit:
            continue
        for leaf in leaves(wires.term(Leaf(layer.exit))):
            if wires.role(leaf.axis) == "hidden" and not _is_read(wires, leaf.axis, layer, layers):
                wires.mark(leaf.axis, "output")


def close_gaps(wires: Wires, layers: list[Layer]) -> None:
    """Fix all of the size that something without a known place has: it may sit there.

    That is what no layer kind fits, and what reads fixed units that nothing is known to write.
    """
    written = {x.axis for la in layers if la.exit for x in leaves(wires.term(Leaf(la.exit)))}
    gaps = {wires.sizes[name] for la in layers if la.op == "opaque" for name in la.sizes}
    for layer in layers:
        if layer.entry is not None and layer.op in WEIGHTS:
            units = {leaf.axis for leaf in leaves(wires.term(Leaf(layer.entry)))}
            if not units & written and any(wires.role(axis) == "fixed" for axis in units):
                gaps.add(wires.sizes[layer.entry])
    for name in {x for la in layers for x in la.sizes}:
        if wires.sizes[name] in gaps and wires.sizes[name] > 1 and wires.role(name) == "hidden":
            wires.mark(name, "fixed", UNPLACED)


def _fix_parts(wires: Wires, entry: str, whole: Piece) -> None:
    """Fix all that may be a part of what a layer reads from nowhere known: side by side, or map by map."""
    for axis in whole.exposed:
        if 1 < wires.sizes[axis] < wires.sizes[entry]:
            wires.mark(axis, "fixed", UNEXPLAINED)


def _is_read(wires: Wires, axis: str, writer: Layer, layers: list[Layer]) -> bool:
    """Whether a layer other than `writer` reads `axis`, or some operation without weights."""
    for layer in layers:
        if any(wires.root(name) == axis for name in layer.reads):
            return True
        for block in layer.blocks if layer is not writer else ():
            if block.in_axis is not None and any(leaf.axis == axis for leaf in leaves(wires.term(block.in_axis))):
                return True
    return False


def _first_entries(layers: list[Layer]) -> set[str]:
    """What the first layer of each top-level module reads: it may well come from outside."""
    firsts: dict[str, str] = {}
    for layer in layers:
        if layer.entry is not None and layer.op in WEIGHTS:
            firsts.setdefault(layer.path.split(".")[0], layer.entry)
    return set(firsts.values())
