"""A graph metanetwork: messages along every edge between two channels, in PyTorch Geometric.

Source: Kofinas et al. (2024), "Graph neural networks for learning equivariant representations of neural networks", and
Lim et al. (2024), "Graph metanetworks for processing diverse neural architectures": a kernel is an edge's feature, a
bias a node's, edges are updated too, outputs are read at the output units. Messages go along and against the data flow
and are reduced by mean, deviation and maximum; the mean over all units joins the read-out, for deep networks.
"""

from __future__ import annotations

import warnings
from typing import final

import torch
from torch import Tensor, nn

from benchmarks.encoder.data import Batch, Group, Networks, PeerError
from benchmarks.encoder.graph_template import Template, make_template
from benchmarks.encoder.parts import Description, Head, Scales, compress

with warnings.catch_warnings():  # its import scripts functions, which PyTorch calls deprecated from 2.13 on
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import MessagePassing

OCTAVES = 4
REDUCTIONS = ["mean", "std", "max"]


@final
class Messages(MessagePassing):
    """Messages `(A h_source) * B e + C e`, reduced at the target; the product is what a network computes with."""

    def __init__(self, width: int):
        super().__init__(aggr=REDUCTIONS)
        self.source, self.gate, self.shift = (nn.Linear(width, width) for _ in range(3))

    def forward(self, h: Tensor, edge_index: Tensor, e: Tensor) -> Tensor:
        """Return `(nodes, reductions * width)`."""
        return self.propagate(edge_index, h=self.source(h), gate=self.gate(e), shift=self.shift(e), size=None)

    def message(self, h_j: Tensor, gate: Tensor, shift: Tensor) -> Tensor:
        """Messages of all edges."""
        return torch.relu(h_j * gate + shift)


@final
class Layer(nn.Module):
    """One round of messages both ways, then nodes and edges are updated."""

    def __init__(self, width: int):
        super().__init__()
        self.along, self.against = Messages(width), Messages(width)
        inside = (1 + 2 * len(REDUCTIONS)) * width
        self.node = nn.Sequential(nn.Linear(inside, width), nn.GELU(), nn.Linear(width, width))
        self.edge = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, width))
        self.node_norm, self.edge_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, h: Tensor, edge_index: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Return new states of nodes and edges."""
        seen = [h, self.along(h, edge_index, e), self.against(h, edge_index.flip(0), e)]
        h = self.node_norm(h + self.node(torch.cat(seen, 1)))
        source, target = edge_index
        return h, self.edge_norm(e + self.edge(torch.cat([h[source], h[target], e], 1)))


@final
class GraphNet(nn.Module):
    """Graph metanetwork over the units of each network."""

    def __init__(self, train: Networks, outputs: int, width: int = 64, depth: int = 4):
        super().__init__()
        self.scales, self.description = Scales(train), Description(train)
        self.kernel = max(largest_kernel(group) for group in train.groups)
        self._templates: dict[str, Template] = {}
        template = make_template(train.groups[0].architecture, self.kernel)
        self.read = len(template.outputs)
        for group in train.groups:  # once, before any training
            self._template(group)
        lifted = self.kernel**2 * (1 + 2 * OCTAVES) + template.edge_facts.shape[1]
        self.embed_edge = nn.Linear(lifted, width)
        values = template.columns.shape[1] * (1 + 2 * OCTAVES)
        self.embed_node = nn.Linear(values + template.node_facts.shape[1], width)
        self.embed_unit = nn.Embedding(int(template.unit.max()) + 1, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.head = Head((self.read + 1) * width + self.description.width, outputs)

    def forward(self, batch: Batch) -> Tensor:
        """Return raw outputs `(networks, outputs)`."""
        parts = [self._lay(group) for group in batch.groups]
        starts = torch.tensor([0, *(len(part[0]) for part in parts)]).cumsum(0).tolist()
        h, e = (torch.cat([part[i] for part in parts]) for i in (0, 1))
        index = torch.cat([part[2] + start for part, start in zip(parts, starts, strict=False)], 1)
        for layer in self.layers:
            h, e = layer(h, index, e)
        read = [self._read(g, h[a:b]) for g, a, b in zip(batch.groups, starts, starts[1:], strict=False)]
        return self.head(torch.cat([torch.cat(read), self.description(batch)], 1))

    def _lay(self, group: Group) -> tuple[Tensor, Tensor, Tensor]:
        """Embedded nodes and edges of all networks of a group, and the edges between them."""
        template, models = self._template(group), len(group.flat)
        scaled = self.scales(group.architecture, group.flat)
        flat = torch.cat([scaled, scaled.new_zeros(models, 1)], 1)
        e = self.embed_edge(_join(lift(flat[:, template.taps]), template.edge_facts))
        h = self.embed_node(_join(lift(flat[:, template.columns]), template.node_facts))
        h = h + self.embed_unit(template.unit)
        offsets = torch.arange(models, device=flat.device) * template.nodes
        index = (template.edge_index[:, None] + offsets[:, None]).flatten(1)
        return h.flatten(0, 1), e.flatten(0, 1), index

    def _read(self, group: Group, h: Tensor) -> Tensor:
        template = self._template(group)
        each = h.unflatten(0, (len(group.flat), template.nodes))
        return torch.cat([each[:, template.outputs].flatten(1), each.mean(1)], 1)

    def _template(self, group: Group) -> Template:
        key = f"{group.architecture.identity} {group.flat.device}"
        if key not in self._templates:
            template = make_template(group.architecture, self.kernel).to(group.flat.device)
            if len(template.outputs) != self.read:
                raise PeerError(f"{len(template.outputs)} outputs where other networks have {self.read}.")
            self._templates[key] = template
        return self._templates[key]


def largest_kernel(group: Group) -> int:
    """Return the longest side of a kernel."""
    return max(max(shape[2:], default=1) for shape in group.architecture.layout.shapes.values())


def lift(values: Tensor) -> Tensor:
    """Return values beside their sines and cosines at four octaves, `(..., n) -> (..., 9 n)`."""
    angles = compress(values)[..., None] * (2.0 ** torch.arange(OCTAVES, device=values.device))
    waves = torch.cat([angles.sin(), angles.cos() - 1], -1).flatten(-2)
    return torch.cat([compress(values), waves], -1)


def _join(values: Tensor, facts: Tensor) -> Tensor:
    return torch.cat([values, facts.expand(len(values), -1, -1)], -1)
