"""The ends of the network: what it reads from outside, what it gives back, and what found no place."""

from __future__ import annotations

from collections.abc import Iterable

from weightspace.graph.axes import leaves
from weightspace.graph.infer.piece import Piece
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds.layer import Layer


def mark_ends(wires: Wires, whole: Piece, layers: list[Layer]) -> None:
    """Mark inputs, then whatever nobody reads as output."""
    for axis in filter(None, (whole.entry, *whole.loose)):
        wires.mark(axis, "input")
    read = set(_read(wires, layers))
    for layer in layers:
        for block in layer.blocks:
            for dim in block.dims:
                for leaf in leaves(wires.term(dim)):
                    if leaf.axis not in read and wires.role(leaf.axis) == "hidden":
                        wires.mark(leaf.axis, "output")


def _read(wires: Wires, layers: list[Layer]) -> Iterable[str]:
    for layer in layers:
        for block in layer.blocks:
            if block.in_axis is not None:
                for leaf in leaves(wires.term(block.in_axis)):
                    yield leaf.axis
        yield from map(wires.root, layer.reads)
