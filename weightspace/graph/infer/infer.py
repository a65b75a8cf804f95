"""From the names and shapes of a checkpoint to its parameter graph."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from weightspace.checkpoint.header import Header
from weightspace.graph.axes import ParameterGraph, Stage
from weightspace.graph.infer.flow import Flow
from weightspace.graph.infer.names import groups, is_sorted
from weightspace.graph.infer.tree import tree
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds import read_layer
from weightspace.graph.kinds.layer import Layout


@runtime_checkable
class HasHeader(Protocol):
    """A checkpoint: whatever can say what it holds."""

    @property
    def header(self) -> Header:
        """Names, shapes and dtypes."""


def infer_graph(checkpoint: HasHeader | Header) -> ParameterGraph:
    """Return the parameter graph of a checkpoint, from names, shapes, dtypes and metadata alone.

    It may tie or fix more than the network needs, never less: what cannot be shown from the file is not free.
    """
    header = checkpoint if isinstance(checkpoint, Header) else checkpoint.header
    layers = [read_layer(group, Layout()) for group in groups(header)]
    wires = Wires()
    for layer in layers:
        for name, size in layer.sizes.items():
            wires.add(name, size, *layer.roles.get(name, ("hidden", "")), parent=layer.parents.get(name))
        for name, term in layer.bound.items():
            wires.bind(name, term, "")
    root = tree(layers, not is_sorted(header))
    whole = Flow(wires, "first").visit(root)
    ordered = list(root.layers())
    if whole is not None:
        for axis in filter(None, (whole.entry, *whole.loose)):
            wires.mark(axis, "input")
        consumed = {
            wires.root(layer.entry) for layer in layers if layer.entry is not None and layer.op in ("linear", "conv")
        }
        for layer in layers:
            if layer.exit and wires.root(layer.exit) not in consumed:
                wires.mark(layer.exit, "output")
    stages = tuple(Stage(la.path, la.op, tuple(b.tensor for b in la.blocks), (), la.reads) for la in ordered)
    return wires.graph([b for la in ordered for b in la.blocks], stages, header.shared)
