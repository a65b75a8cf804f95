"""From the names and shapes of a checkpoint to its parameter graph."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from weightspace.checkpoint.header import Header
from weightspace.graph.axes import ParameterGraph, Stage
from weightspace.graph.infer.depthwise import settle
from weightspace.graph.infer.ends import close_gaps, mark_ends
from weightspace.graph.infer.flow import Clues, Flow
from weightspace.graph.infer.heads import find_heads
from weightspace.graph.infer.layout import find_layout, flatten_order, is_torch
from weightspace.graph.infer.names import groups, is_sorted
from weightspace.graph.infer.norms import fix_groups, votes
from weightspace.graph.infer.pairing import pair
from weightspace.graph.infer.ties import adding_templates
from weightspace.graph.infer.tree import tree
from weightspace.graph.infer.wires import Wires
from weightspace.graph.kinds import read_layer
from weightspace.graph.kinds.layer import Layer


@runtime_checkable
class HasHeader(Protocol):
    """A checkpoint: whatever can say what it holds."""

    @property
    def header(self) -> Header:
        """Names, shapes and dtypes."""


def infer_graph(checkpoint: HasHeader | Header) -> ParameterGraph:
    """Return the parameter graph of a checkpoint, from names, shapes, dtypes and metadata alone.

    It may tie or fix more than the network needs, never less: what cannot be shown from the file is not free. Stages
    are in the order in which data is likely to flow.
    """
    header = checkpoint if isinstance(checkpoint, Header) else checkpoint.header
    modules = pair(groups(header))
    layout = find_layout(header, modules)
    layers = [read_layer(group, layout) for group in modules]
    wires = _wires(layers)
    in_order = not is_sorted(header)
    root = tree(layers, in_order)
    settle(list(root.layers()))
    shuffle = "last" if layout.channels_last else "first" if is_torch(header) else None
    flatten, repeated = flatten_order(header, layout), adding_templates(root)
    clues = Clues(flatten, shuffle, find_heads(header), votes(root), repeated, in_order)
    whole = Flow(wires, clues).visit(root)
    ordered = list(root.layers())
    fix_groups(wires, ordered)
    if whole is not None:
        mark_ends(wires, whole, ordered)
    close_gaps(wires, ordered)
    stages = tuple(Stage(la.path, la.op, tuple(b.tensor for b in la.blocks), (), la.reads) for la in ordered)
    return wires.graph([b for la in ordered for b in la.blocks], stages, header.shared)


def _wires(layers: list[Layer]) -> Wires:
    wires = Wires()
    for layer in layers:
        for name, size in layer.sizes.items():
            wires.add(name, size, *layer.roles.get(name, ("hidden", "")), parent=layer.parents.get(name))
        for name, term in layer.bound.items():
            wires.bind(name, term, "")
    return wires
