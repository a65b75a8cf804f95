"""Parameter graphs as PyTorch Geometric sees graphs: units are nodes, and every weight between two units is an edge."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Block, ParameterGraph, Prod
from weightspace.graph.layout import Segment, digits_of, dimension_roles, segments
from weightspace.graph.symmetry.fit import fit_blocks

with warnings.catch_warnings():  # its import scripts functions, which PyTorch calls deprecated from 2.13 on
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.data import HeteroData

MOST_EDGES = 10_000_000
NO_UNIT = "no unit"
LIVES_IN = "lives in"


def to_pyg(graph: ParameterGraph, checkpoint: Checkpoint | None = None) -> HeteroData:
    """Return a heterogeneous graph whose plain message passing equals the package's matrix products.

    For small networks, to run PyTorch Geometric's own layers on them: 34 bytes an edge and 4 a tap (1.5 GiB while the
    most edges allowed are made), where the encoder holds none. With the messages of all edges of one tensor averaged
    over each pair of a target unit and its segment, `m = 1/n_in * sum_c (W_c @ (h A_c) + |W_c| @ (h B_c))` comes out.

    - A node type for each axis, with all its units over the network, parents major. `x` holds the weights that sit on
      one unit (biases, norms, depthwise kernels), `columns` the tensor that each column comes from; `axis`, `role`.
    - An edge type `(source axis, tensor, target axis)` for the weights between two axes; a tensor on more axes (a
      concatenation) has several. `edge_attr` holds a row of kernel taps an edge, of sizes `kernel`; `segment` and
      `slot`, `(edges, 2)` for source and target, the part of the dimension that the weight lies in (query, key,
      value) and the position of the unit in that part (pixel, gate); `ordered`, whether slots have an order, or are
      units of one more axis; `tensor`, `kind`.
    - `(child axis, "lives in", parent axis)` for nested axes.
    - The node `no unit` stands for positions that are no units, and holds the weights that sit on none.

    Types are named after axes and tensors, except that `__` is written `_ _`, as PyTorch Geometric wants it.

    Args:
        graph: Of the checkpoint.
        checkpoint: Where the values come from, in float32 or as wide as stored; structure alone without it.

    Raises:
        GraphError: The checkpoint does not fit the graph, or there are more than `MOST_EDGES` edges.

    Source:
        Kofinas et al. (2024), "Graph neural networks for learning equivariant representations of neural networks",
        section 3: an edge holds a whole kernel. There kernels are padded to one size; nested axes, segments and slots
        are ours.

    Example:
        >>> from weightspace.graph.axes import Axis, Leaf
        >>> axes = {"x": Axis("x", 2, "input"), "y": Axis("y", 1, "output")}
        >>> graph = ParameterGraph(axes, {"w": Block("w", "linear", (Leaf("y"), Leaf("x")), "oi", 2)}, (), "infer")
        >>> edges = to_pyg(graph, Checkpoint({"w": torch.tensor([[3.0, 5.0]])}))["x", "w", "y"]
        >>> edges.edge_index.tolist(), edges.edge_attr.tolist()
        ([[0, 1], [0, 0]], [[3.0], [5.0]])
    """
    values = _values(graph, checkpoint) if checkpoint else {}
    laid = [_Laid.of(graph, block) for block in graph.blocks.values() if block.size]
    _refuse_many(laid)
    names = _type_names([NO_UNIT, *graph.axes]), _type_names([LIVES_IN, *graph.blocks])
    data = HeteroData()
    _add_nodes(data, graph, names[0], laid, values)
    _add_parents(data, graph, names[0])
    for x in laid:
        if x.between:
            _add_edges(data, names, x, values.get(x.block.tensor))
    return data


@dataclass(frozen=True, eq=False)
class _End:
    """The positions of one segment, each once for every unit that it stands for."""

    axis: str
    number: int
    positions: np.ndarray
    units: np.ndarray
    slots: np.ndarray
    digits: dict[str, np.ndarray]
    named: frozenset[str]
    ordered: bool

    @classmethod
    def of(cls, graph: ParameterGraph, number: int, segment: Segment) -> _End:
        """Repeat positions over the units of the parents that their dimension does not name."""
        line = graph.lineage(segment.axis) if segment.axis else ()
        missing = [name for name in line if name not in segment.digits]
        copies, n = digits_of([graph.axes[name].size for name in missing]), len(segment.positions)
        times = len(copies[0]) if missing else 1
        digits = {name: np.repeat(digit, times) for name, digit in segment.digits.items()}
        digits |= {name: np.tile(digit, n) for name, digit in zip(missing, copies, strict=True)}
        units = np.zeros(n * times, np.int64)
        for name in line:
            units = units * graph.axes[name].size + digits[name]
        positions, slots = (np.repeat(x, times) for x in (segment.positions, segment.slots))
        named, own = frozenset(segment.digits), {name: digits[name] for name in line}
        axis, ordered = segment.axis or NO_UNIT, segment.ordered(graph)
        return cls(axis, number, positions, units, slots, own, named, ordered)

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        """Units, positions, segment, slots and whether those are ordered, one entry a position and unit."""
        n = len(self.units)
        segment, ordered = np.full(n, self.number, np.int32), np.full(n, self.ordered)
        return self.units, self.positions, segment, self.slots.astype(np.int32), ordered


@dataclass(frozen=True, eq=False)
class _Laid:
    """A block as `(outs, ins, taps)` with the units on its two sides."""

    block: Block
    order: tuple[int, ...]
    sizes: tuple[int, int, int]
    kernel: tuple[int, ...]
    between: bool
    targets: tuple[_End, ...]
    sources: tuple[_End, ...]

    @classmethod
    def of(cls, graph: ParameterGraph, block: Block) -> _Laid:
        outs, ins, taps = dimension_roles(graph, block)
        kernel = tuple(graph.length(block.dims[d]) for d in taps)
        rows, columns = (Prod(tuple(block.dims[d] for d in dims)) for dims in (outs, ins))
        sizes = (graph.length(rows), graph.length(columns), prod(kernel))
        ends = [
            tuple(_End.of(graph, number, segment) for number, segment in enumerate(segments(graph, term)))
            for term in (rows, columns)
        ]
        return cls(block, (*outs, *ins, *taps), sizes, kernel, bool(outs and ins), ends[0], ends[1])

    def matrix(self, tensor: Tensor) -> Tensor:
        wide = tensor if tensor.element_size() >= 4 else tensor.float()
        return wide.permute(self.order).reshape(self.sizes)


def _values(graph: ParameterGraph, checkpoint: Checkpoint) -> dict[str, Tensor]:
    found = {block.tensor: checkpoint.tensors[name] for name, block in fit_blocks(checkpoint, graph).items()}
    return found | {name: checkpoint.tensors[checkpoint.shared[name]] for name in graph.blocks if name not in found}


def _refuse_many(laid: list[_Laid]) -> None:
    edges = sum(prod(x.sizes[:2]) for x in laid if x.between)
    if edges > MOST_EDGES:
        raise GraphError(
            f"{edges} weights would each become an edge, at most {MOST_EDGES} do. Use Encoder, which reaches the same "
            "messages by matrix products and holds no edge."
        )


def _type_names(names: Iterable[str]) -> dict[str, str]:
    """Name to type, no two alike."""
    found: dict[str, str] = {}
    for name in names:
        written = name.replace("__", "_ _").replace("__", "_ _")
        while written in found.values():
            written += "'"
        found[name] = written
    return found


def _add_nodes(
    data: HeteroData, graph: ParameterGraph, names: Mapping[str, str], laid: list[_Laid], values: dict[str, Tensor]
) -> None:
    bare = any(end.axis == NO_UNIT for x in laid for end in (*x.targets, *(x.sources if x.between else ())))
    for name in (*graph.axes, *[NO_UNIT] * bare):
        own = [(x, _places(end)) for x in laid if not x.between for end in x.targets if end.axis == name]
        store, axis = data[names[name]], graph.axes.get(name)
        store.num_nodes = graph.count(name) if axis else 1
        store.axis, store.role = name, axis.role if axis else "fixed"
        store.columns = tuple(x.block.tensor for x, places in own for _ in range(places.shape[1] * x.sizes[2]))
        if values:
            rows = [x.matrix(values[x.block.tensor])[torch.from_numpy(at), 0].flatten(1) for x, at in own]
            store.x = torch.cat(rows, 1) if rows else torch.zeros(store.num_nodes, 0)


def _places(end: _End) -> np.ndarray:
    """Positions of each unit in the order of their slots, `(units, positions)`."""
    order = np.lexsort((end.positions, end.slots, end.units))
    return end.positions[order].reshape(int(end.units.max()) + 1, -1)


def _add_parents(data: HeteroData, graph: ParameterGraph, names: Mapping[str, str]) -> None:
    for axis in graph.axes.values():
        if axis.parent is not None:
            child = torch.arange(graph.count(axis.name))
            data[names[axis.name], LIVES_IN, names[axis.parent]].edge_index = torch.stack([child, child // axis.size])


def _add_edges(
    data: HeteroData, names: tuple[Mapping[str, str], Mapping[str, str]], x: _Laid, tensor: Tensor | None
) -> None:
    for source, target in dict.fromkeys((s.axis, t.axis) for t in x.targets for s in x.sources):
        ends = [(s, t) for t in x.targets if t.axis == target for s in x.sources if s.axis == source]
        units, positions, segment, slot, ordered = _edges(ends)
        edges = data[names[0][source], names[1][x.block.tensor], names[0][target]]
        edges.edge_index, edges.segment, edges.slot, edges.ordered = units.T.contiguous(), segment, slot, ordered
        edges.tensor, edges.kind, edges.kernel = x.block.tensor, x.block.kind, x.kernel
        if tensor is not None:
            edges.edge_attr = x.matrix(tensor)[positions[:, 1], positions[:, 0]]


def _edges(ends: list[tuple[_End, _End]]) -> list[Tensor]:
    """Units, positions, segments, slots and whether those are ordered, `(edges, 2)`, of all edges between the ends."""
    found: list[list[np.ndarray]] = [[] for _ in range(5)]
    for s, t in ends:
        rows, columns = np.nonzero(_met(t, s))
        for part, a, b in zip(found, s.columns, t.columns, strict=True):
            part.append(np.stack([a[columns], b[rows]], 1))
    return [torch.from_numpy(np.concatenate(part)) for part in found]


def _met(t: _End, s: _End) -> np.ndarray:
    """Which of the two ends' units a weight joins: those in one unit of a parent that one end alone names."""
    met = np.ones((len(t.units), len(s.units)), bool)
    for name in t.digits.keys() & s.digits.keys():
        if (name in t.named) != (name in s.named):
            met &= t.digits[name][:, None] == s.digits[name]
    return met
