"""The ends of the network: what it reads from outside, what it gives back, and what found no place."""

from __future__ import annotations

from weightspace.graph.axes import Leaf, leaves
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.tree import WEIGHTS
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds.layer import Layer


def mark_ends(wires: Wires, whole: Piece, layers: list[Layer]) -> None:
    """Mark inputs, then whatever nobody reads as output."""
    if whole.exit is not None and whole.weighted:
        wires.mark(whole.exit, "output")
    if whole.entry is not None:
        wires.mark(whole.entry, "input")
    for axis in whole.loose:
        wires.mark(axis, *(("input", "") if axis in _first_entries(layers) else ("fixed", "")))
    for layer in layers:
        if not layer.exit:
            continue
        for leaf in leaves(wires.term(Leaf(layer.exit))):
            if wires.role(leaf.axis) == "hidden" and not _is_read(wires, leaf.axis, layer, layers):
                wires.mark(leaf.axis, "output")


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
