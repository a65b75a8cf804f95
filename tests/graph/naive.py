"""The encoder's messages by PyTorch Geometric alone: one vector an edge, added up at its target."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from weightspace.encode.plan import Edge
from weightspace.encode.sides import ORDINALS, SLOT_CHANNELS
from weightspace.encode.visit import About, Visit
from weightspace.graph.pyg import NO_UNIT
from weightspace.nn.cosines import kernel_cosines, slot_cosines
from weightspace.nn.units import root_mean_square

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.data import Batch, HeteroData
    from torch_geometric.nn import MessagePassing

__all__ = ["Batch", "HeteroData", "NaiveVisit"]


class Messages(MessagePassing):
    """`sum_c W_c (h A_c) + |W_0| (h B)` over the edges into each row."""

    def __init__(self):
        super().__init__(aggr="sum")

    def forward(self, edge_index, x, given, *, rows):
        ahead, taps, mixer, behind = given
        return self.propagate(
            edge_index, x=(x, None), ahead=ahead, taps=taps, behind=behind, mixer=mixer, size=(len(x), rows)
        )

    def message(self, x_j, ahead, taps, behind, mixer):
        return torch.einsum("ec,ew,cwv->ev", torch.cat([taps, taps[:, :1].abs()], 1), x_j * ahead, mixer) * behind


def slots_of(segment: Tensor, slot: Tensor) -> Tensor:
    """Cosines of each edge's slot among those of its segment."""
    found = torch.zeros(len(slot), SLOT_CHANNELS, dtype=torch.float64)
    for number in segment.unique():
        here = segment == number
        found[here] = slot_cosines(slot[here].long(), int(slot[here].max()) + 1, SLOT_CHANNELS)
    return found


def looked_up(table: dict[int, int], keys: Tensor) -> Tensor:
    whole = torch.tensor([table.get(key, 0) for key in range(max(table) + 1)])
    return whole[keys.long()]


class NaiveVisit:
    """Stands in for `Visit.forward` on one model: reads the edges of `data` and never the matrix."""

    def __init__(self, data: HeteroData):
        self.data, self.real, self.visited = data, Visit.forward, 0
        self.messages = Messages()

    def __call__(self, visit: Visit, h, edge: Edge, about: About):
        if not edge.between:
            return self.real(visit, h, edge, about)
        self.visited += 1
        near, far = (1, 0) if visit.back else (0, 1)
        m = self.rows(visit, h, edge, about, (near, far))
        m = m * about.weights.inverse
        return visit._receive(h, edge.ends(visit.back)[1], m[None], about)

    def rows(self, visit: Visit, h, edge: Edge, about: About, ends: tuple[int, int]) -> Tensor:
        """One message for each unit in each segment of the far side: the mean over all edges into it."""
        stores = {t: self.data[t] for t in self.data.edge_types if self.data[t].get("tensor") == edge.tensor}
        axis_of = {
            (end, int(n)): self.data[t[2 * end]].axis
            for t, s in stores.items()
            for end in (0, 1)
            for n in s.segment[:, end].unique()
        }
        told = [(n, axis) for (end, n), axis in sorted(axis_of.items()) if end == ends[1] and axis != NO_UNIT]
        counts = [h[axis].shape[1] for _, axis in told]
        start = {n: sum(counts[:i]) for i, (n, _) in enumerate(told)}
        total, times = torch.zeros(sum(counts), h[told[0][1]].shape[2], dtype=torch.float64), torch.zeros(sum(counts))
        for kind, store in stores.items():
            source, target = (self.data[kind[2 * end]].axis for end in ends)
            if target == NO_UNIT:
                continue
            segment = store.segment[:, ends[1]]
            rows = store.edge_index[ends[1]] + looked_up(start, segment)
            x = visit.bare if source == NO_UNIT else root_mean_square(h[source][0])
            ahead, behind = (self.modulation(visit, store, axis_of, end, i) for i, end in enumerate(ends))
            ahead = ahead + about.gate
            channels, cosines = kernel_cosines(store.kernel)
            mixer = visit.message.mixer[[*channels, -1]]
            given = ahead, store.edge_attr.double() @ cosines, mixer, behind
            total = total + self.messages(torch.stack([store.edge_index[ends[0]], rows]), x, given, rows=len(total))
            times = times + torch.bincount(rows, minlength=len(times))
        return total / times[:, None]

    def modulation(self, visit: Visit, store, axis_of, end: int, which: int) -> Tensor:
        seen: dict[str, int] = {}
        ordinal = {}
        for (side, n), axis in sorted(axis_of.items()):
            if side == end:
                ordinal[n] = min(seen.get(axis, 0), ORDINALS - 1)
                seen[axis] = seen.get(axis, 0) + 1
        segment = store.segment[:, end]
        slots = slots_of(segment, store.slot[:, end]) * store.ordered[:, end, None]
        return 1 + visit.ordinals[which][looked_up(ordinal, segment)] + slots @ visit.slots[which]
