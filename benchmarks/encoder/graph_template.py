"""What is equal in the graphs of equal networks, made once an architecture: nodes, edges, and where their values lie.

Nodes are units and edges join channels, as `ParameterGraph.to_pyg` lays them; a whole kernel is one edge. To learn
which weight goes where, the graph is filled with a network whose every weight is its own position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.encoder.data import Architecture
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph, leaves
from weightspace.graph.infer import infer_graph
from weightspace.zoo.families.activations import ACTIVATIONS

ROLES = ("input", "hidden", "output", "fixed")
KINDS = ("linear", "conv", "embedding")
COLUMNS = ("bias", "norm scale", "norm shift", "running mean", "running variance")
DEPTHS = 5


@dataclass(frozen=True, eq=False)
class Template:
    """Structure of one architecture's graph; positions point into a network's weights, `weights` itself at a zero.

    Args:
        edge_index: `(2, edges)`, source and target node.
        taps: Position of each kernel tap of an edge, `(edges, taps)`, centred in the largest kernel.
        edge_facts: Kind, depth, kernel size and slots, `(edges, facts)`.
        columns: Positions of up to two values of each kind in `COLUMNS` on a node, `(nodes, columns)`.
        node_facts: Role, activation, depth, `(nodes, facts)`.
        unit: 0 for hidden units; 1, 2, ... for inputs, then outputs, which have a meaning each.
        outputs: The output nodes, in order.
    """

    edge_index: Tensor
    taps: Tensor
    edge_facts: Tensor
    columns: Tensor
    node_facts: Tensor
    unit: Tensor
    outputs: Tensor

    @property
    def nodes(self) -> int:
        """How many units."""
        return len(self.unit)

    def to(self, device: torch.device) -> Template:
        """Return the template on a device."""
        return Template(*(value.to(device) for value in vars(self).values()))


@lru_cache(maxsize=8192)
def make_template(architecture: Architecture, kernel: int) -> Template:
    """Return the template of an architecture, with room for `kernel x kernel` taps an edge."""
    checkpoint = number_weights(architecture)
    graph = infer_graph(checkpoint.header)
    data, zero = graph.to_pyg(checkpoint), architecture.layout.size
    starts, total = {}, 0
    for kind in data.node_types:
        starts[kind], total = total, total + data[kind].num_nodes
    depths = stage_depths(graph)
    edges = [
        (
            store.edge_index + torch.tensor([[starts[source]], [starts[target]]]),
            centre_taps(store.edge_attr.long(), store.kernel, kernel, zero),
            edge_facts(store, depths[store.tensor]),
        )
        for (source, _, target), store in zip(data.edge_types, data.edge_stores, strict=True)
        if "edge_attr" in store
    ]
    index, taps, facts = zip(*edges, strict=True)
    stores = data.node_stores
    acts, axis_depth = axis_activations(graph, architecture), axis_depths(graph, depths)
    outputs = [starts[s._key] + torch.arange(s.num_nodes) for s in stores if s.role == "output"]
    every = [starts[s._key] + torch.arange(s.num_nodes) for s in stores[-1:]]
    return Template(
        torch.cat(index, 1),
        torch.cat(taps),
        torch.cat(facts),
        torch.cat([node_columns(s, graph, zero) for s in stores]),
        torch.cat([node_facts(s, acts, axis_depth) for s in stores]),
        number_units([(s.role, s.num_nodes) for s in stores]),
        torch.cat(outputs or every),
    )


def number_weights(architecture: Architecture) -> Checkpoint:
    """Return a network in which each weight is its position in the flat row."""
    shapes = architecture.layout.shapes
    flat = torch.arange(architecture.layout.size, dtype=torch.float64).split([prod(s) for s in shapes.values()])
    return Checkpoint({name: part.reshape(s) for (name, s), part in zip(shapes.items(), flat, strict=True)})


def centre_taps(taps: Tensor, sizes: tuple[int, ...], kernel: int, zero: int) -> Tensor:
    """Return the taps `(edges, kernel * kernel)` with smaller kernels in the middle of the square."""
    height, width = (sizes if len(sizes) == 2 else (1, prod(sizes))) or (1, 1)
    free = [kernel - width, kernel - height]
    if min(free) < 0:
        taps = taps[:, : kernel * kernel]
        return F.pad(taps, (0, kernel * kernel - taps.shape[1]), value=zero)
    pads = (free[0] // 2, free[0] - free[0] // 2, free[1] // 2, free[1] - free[1] // 2)
    return F.pad(taps.reshape(-1, height, width), pads, value=zero).flatten(1)


def stage_depths(graph: ParameterGraph) -> dict[str, float]:
    """Return where each block acts, 0 for the first stage and 1 for the last."""
    order = [name for stage in graph.stages for name in stage.blocks]
    stages = {name: i for i, stage in enumerate(graph.stages) for name in stage.blocks}
    last = max([*stages.values(), 1])
    return {name: stages.get(name, 0) / last for name in {*order, *graph.blocks}}


def axis_depths(graph: ParameterGraph, depths: dict[str, float]) -> dict[str, float]:
    """Return the depth of the first block that writes each axis; 0 where none does."""
    found: dict[str, float] = {}
    for name, block in graph.blocks.items():
        if block.in_axis is not None and block.out_axis is not None:
            for leaf in leaves(block.out_axis):
                found[leaf.axis] = min(found.get(leaf.axis, 1.0), depths[name])
    return found


def axis_activations(graph: ParameterGraph, architecture: Architecture) -> dict[str, Tensor]:
    """Return which activations follow the writers of each axis, `(activations,)` by axis."""
    names = architecture.activations
    writers = [b for s in graph.stages for n in s.blocks if (b := graph.blocks.get(n)) and b.in_axis is not None]
    found: dict[str, Tensor] = {}
    for i, block in enumerate(writers[:-1] if len(writers) > 1 else writers):
        if names and (len(names) == 1 or i < len(names)):
            hot = torch.tensor([float(names[min(i, len(names) - 1)] == name) for name in sorted(ACTIVATIONS)])
            for leaf in leaves(block.out_axis):
                found[leaf.axis] = torch.maximum(found.get(leaf.axis, torch.zeros_like(hot)), hot)
    return found


def edge_facts(store, depth: float) -> Tensor:
    """Kind, depth as five bumps, kernel size, and the slots of both ends relative to the largest."""
    n, taps = store.edge_index.shape[1], prod(store.kernel)
    hot = [float(kind in store.kind) for kind in KINDS]
    fixed = torch.tensor([*hot, *bumps(depth), taps**0.5 / 3]).expand(n, -1)
    slots = store.slot / store.slot.max().clamp(min=1)
    return torch.cat([fixed, slots.float()], 1)


def node_facts(store, activations: dict[str, Tensor], depths: dict[str, float]) -> Tensor:
    """Role, activation, depth as five bumps and logarithm of the axis' size."""
    role = [float(store.role == role) for role in ROLES]
    activation = activations.get(store.axis, torch.zeros(len(ACTIVATIONS))).tolist()
    size = torch.tensor(float(store.num_nodes)).log2().item() / 8
    facts = torch.tensor([*role, *activation, *bumps(depths.get(store.axis, 0.0)), size])
    return facts.expand(store.num_nodes, -1)


def node_columns(store, graph: ParameterGraph, zero: int) -> Tensor:
    """Positions of a node's own values, two of each kind at most."""
    found = torch.full((store.num_nodes, 2 * len(COLUMNS)), zero)
    used: dict[str, int] = {}
    for j, name in enumerate(store.columns):
        kind = graph.blocks[name].kind
        n = used.get(kind, 0)
        if kind in COLUMNS and n < 2:
            found[:, 2 * COLUMNS.index(kind) + n] = store.x[:, j].long()
            used[kind] = n + 1
    return found


def number_units(axes: list[tuple[str, int]]) -> Tensor:
    """Return 0 for each unit that may be relabelled, and numbers for those of inputs and outputs, each in its range."""
    first = {"input": 1, "output": 1 + sum(n for role, n in axes if role == "input")}
    parts = []
    for role, n in axes:
        parts.append(first[role] + torch.arange(n) if role in first else torch.zeros(n, dtype=torch.long))
        if role in first:
            first[role] += n
    return torch.cat(parts)


def bumps(depth: float) -> list[float]:
    """Five triangular bumps over 0 to 1, so that nearby depths look alike."""
    return [max(0.0, 1 - abs(depth * (DEPTHS - 1) - i)) for i in range(DEPTHS)]
