"""Law 5: naive message passing over the exported graph is what the encoder computes, and an edge less is not."""

from functools import cache
from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from torch import Generator

import weightspace
from tests.architectures import ARCHITECTURES
from tests.encode.networks import GRAPHS, make, weights
from tests.graph.naive import Batch, HeteroData, NaiveVisit
from tests.real.table import PATHS
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.network import SweepConfig, SweepNetwork
from weightspace.encode.plan import compile_plan
from weightspace.encode.visit import Visit
from weightspace.errors import GraphError
from weightspace.graph import pyg
from weightspace.graph.axes import Axis, Leaf, ParameterGraph, Prod, Span
from weightspace.graph.infer import infer_graph
from weightspace.graph.layout import dimension_roles, segments
from weightspace.graph.trace import trace_graph

SMALL = SweepConfig(width=8, pairs=12, waves=32, features=16, stage=12, latent=24)
NETWORK = SweepNetwork(SMALL, generator=Generator().manual_seed(0)).double().eval()
COMMITTED = ["sb3_zoo/a2c_CartPole-v1", "mtcnn_pnet", "gpt_by_hand", "eegnet_8_2", "estool/robo_ant_seed2"]


def opaque() -> tuple[ParameterGraph, Checkpoint]:
    """A tensor that no layer kind knows, beside a layer; a scalar that sits on no unit."""
    g = Generator().manual_seed(0)
    shapes = {"fc.weight": (4, 3), "fc.bias": (4,), "thing": (2, 3, 2, 2, 2, 2), "temperature": ()}
    checkpoint = Checkpoint({name: torch.randn(shape, generator=g) for name, shape in shapes.items()})
    return infer_graph(checkpoint), checkpoint


@cache
def case(name: str) -> tuple[ParameterGraph, Checkpoint]:
    if name == "opaque":
        return opaque()
    if name in PATHS:
        checkpoint = load_checkpoint(PATHS[name])
        return infer_graph(checkpoint), checkpoint
    if name not in ARCHITECTURES:
        return GRAPHS[name], weights(GRAPHS[name])
    architecture = ARCHITECTURES[name]
    sizes = {**architecture.sizes, **{key: min(values) for key, values in architecture.draws.items()}}
    graph = trace_graph(architecture.build(**sizes), architecture.inputs(sizes))
    return graph, weights(graph)


CASES = [
    *ARCHITECTURES,
    *(name for name in GRAPHS if name not in ARCHITECTURES),
    "opaque",
    *(name for name in COMMITTED if name in PATHS),
]


def encode(graph: ParameterGraph, checkpoint: Checkpoint) -> torch.Tensor:
    with torch.no_grad():
        stacked = {name: checkpoint.tensors[name][None].double() for name in graph.blocks}
        found = NETWORK(compile_plan(graph), stacked)
    return torch.cat([found.vector.flatten(), *(h.flatten() for h in found.units.values())])


@pytest.mark.filterwarnings("ignore:The node types .* are isolated")
@pytest.mark.parametrize("name", CASES)
def test_naive_message_passing_is_the_fast_path(name, monkeypatch):
    graph, checkpoint = case(name)
    data = graph.to_pyg(checkpoint)
    fast = encode(graph, checkpoint)

    naive = NaiveVisit(data)
    monkeypatch.setattr(Visit, "forward", lambda *args, **named: naive(*args, **named))
    slow = encode(graph, checkpoint)

    assert data.validate()
    blocks = {data[t].tensor for t in data.edge_types if "tensor" in data[t]}
    assert naive.visited == 2 * len(blocks) > 0
    torch.testing.assert_close(slow, fast, rtol=1e-5, atol=1e-5)

    drop_one(data)
    assert (encode(graph, checkpoint) - fast).abs().max() > 1e-3


def drop_one(data: HeteroData) -> None:
    """Remove the edge of the largest weight of the first tensor whose units have several."""
    for kind in data.edge_types:
        edges = data[kind]
        if "tensor" in edges and edges.edge_index.shape[1] > edges.edge_index[1].unique().numel() > 1:
            kept = torch.ones(edges.edge_index.shape[1], dtype=torch.bool)
            kept[edges.edge_attr.abs().sum(1).argmax()] = False
            edges.edge_index = edges.edge_index[:, kept]
            edges.edge_attr, edges.segment = edges.edge_attr[kept], edges.segment[kept]
            edges.slot, edges.ordered = edges.slot[kept], edges.ordered[kept]
            return
    raise AssertionError("no unit of this graph has several edges")


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_can_be_read_off_again(name):
    graph, checkpoint = case(name)
    data = graph.to_pyg(checkpoint)
    for block in graph.blocks.values():
        outs, ins, taps = dimension_roles(graph, block)
        sizes = [prod(graph.length(block.dims[d]) for d in dims) for dims in (outs, ins, taps)]
        found = torch.full(sizes, torch.nan, dtype=torch.float64)
        read = read_edges if outs and ins else read_nodes
        read(data, graph, block, (outs, ins), found)
        stored = checkpoint.tensors[block.tensor].double().permute((*outs, *ins, *taps)).reshape(sizes)
        assert torch.equal(found, stored), block.tensor


def places(graph, block, dims):
    """Position by segment, unit and slot; units of parents that the dimension does not name share positions."""
    found = segments(graph, Prod(tuple(block.dims[d] for d in dims)))
    units = max(graph.count(x.axis) if x.axis else 1 for x in found)
    table = torch.full((len(found), units, max(int(x.slots.max()) for x in found) + 1), -1)
    for n, x in enumerate(found):
        line = graph.lineage(x.axis) if x.axis else ()
        sizes = [graph.axes[name].size for name in line]
        for digits in product(*map(range, sizes)):
            kept = [digit if name in x.digits else 0 for name, digit in zip(line, digits, strict=True)]
            unit, first = (int(np.ravel_multi_index(d, sizes)) if sizes else 0 for d in (digits, kept))
            own = x.units == first
            table[n, unit, x.slots[own]] = torch.from_numpy(x.positions[own])
    return table


def read_edges(data, graph, block, dims, found):
    tables = [places(graph, block, d) for d in dims]
    for edges in (data[kind] for kind in data.edge_types if data[kind].get("tensor") == block.tensor):
        at = [
            table[edges.segment[:, end].long(), edges.edge_index[end], edges.slot[:, end].long()]
            for end, table in zip((1, 0), tables, strict=True)
        ]
        assert all((positions >= 0).all() for positions in at)
        found[at[0], at[1]] = edges.edge_attr.double()


def read_nodes(data, graph, block, dims, found):
    for number, segment in enumerate(segments(graph, Prod(tuple(block.dims[d] for d in dims[0])))):
        name = segment.axis or pyg.NO_UNIT
        store = next(data[t] for t in data.node_types if data[t].axis == name)
        column = torch.tensor([c == block.tensor for c in store.columns])
        values = store.x[:, column].double().unflatten(1, (-1, found.shape[2]))
        before = sum(
            int(x.slots.max()) + 1
            for x in segments(graph, Prod(tuple(block.dims[d] for d in dims[0])))[:number]
            if x.axis == segment.axis
        )
        found[segment.positions, 0] = values[segment.units, before + torch.from_numpy(segment.slots)]


def test_a_grouped_convolution_by_hand():
    """Two groups of one channel in and two out, two taps: channel 0 feeds 0 and 1, channel 1 feeds 2 and 3."""
    g = Leaf("g")
    graph = make(
        [Axis("g", 2, "hidden"), Axis("a", 1, "hidden", parent="g"), Axis("b", 2, "hidden", parent="g")],
        {"w": ("conv", "oik", (Prod((g, Leaf("b"))), Leaf("a"), Span(2))), "n": ("bias", "o", (Prod((g, Leaf("b"))),))},
    )
    tensors = {"w": torch.arange(8.0).reshape(4, 1, 2), "n": torch.tensor([1.0, 2.0, 3.0, 4.0])}
    data = graph.to_pyg(Checkpoint(tensors))
    edges = data["a", "w", "b"]
    assert edges.edge_index.tolist() == [[0, 0, 1, 1], [0, 1, 2, 3]]
    assert edges.edge_attr.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert (edges.kernel, edges.kind) == ((2,), "conv")
    assert data["b"].x.tolist() == [[1], [2], [3], [4]] and data["b"].columns == ("n",)
    assert data["b", "lives in", "g"].edge_index.tolist() == [[0, 1, 2, 3], [0, 0, 1, 1]]
    assert [data[name].num_nodes for name in "gab"] == [2, 2, 4]


def test_pixels_and_gates_are_told_apart_by_hand():
    graph = make(
        [Axis("c", 2, "hidden"), Axis("y", 1, "output")],
        {"w": ("linear", "oi", (Leaf("y"), Prod((Leaf("c"), Span(2)))))},
    )
    edges = graph.to_pyg(Checkpoint({"w": torch.tensor([[1.0, 2.0, 3.0, 4.0]])}))["c", "w", "y"]
    assert edges.edge_index.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert edges.slot.tolist() == [[0, 0], [1, 0], [0, 0], [1, 0]]
    assert edges.edge_attr.flatten().tolist() == [1, 2, 3, 4]


def test_structure_alone_has_the_same_edges_and_no_values():
    graph, checkpoint = case("recurrent")
    bare, full = weightspace.to_pyg(graph), graph.to_pyg(checkpoint)
    assert bare.metadata() == full.metadata()
    for kind in full.edge_types:
        assert torch.equal(bare[kind].edge_index, full[kind].edge_index) and "edge_attr" not in bare[kind]
    assert all("x" not in bare[kind] and bare[kind].columns == full[kind].columns for kind in full.node_types)


def test_values_keep_their_width_and_narrow_ones_become_float32():
    graph, checkpoint = case("mlp")
    for dtype, wide in (
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float32),
        (torch.float8_e4m3fn, torch.float32),
    ):
        narrow = Checkpoint({name: tensor.to(dtype) for name, tensor in checkpoint.tensors.items()})
        data = graph.to_pyg(narrow)
        found = next(data[t].edge_attr for t in data.edge_types if data[t].get("tensor") == "0.weight")
        assert found.dtype == wide
        assert torch.equal(found.sort(0).values.flatten(), narrow.tensors["0.weight"].to(wide).flatten().sort().values)


def test_two_graphs_make_a_batch():
    graph, checkpoint = case("attention")
    data = graph.to_pyg(checkpoint)
    batch = Batch.from_data_list([data, data])
    assert batch.validate()
    for kind in data.edge_types:
        one, count = data[kind].edge_index, [[data[kind[0]].num_nodes], [data[kind[2]].num_nodes]]
        assert torch.equal(batch[kind].edge_index, torch.cat([one, one + torch.tensor(count)], 1))


def test_tied_tensors_are_found_under_either_name():
    graph, checkpoint = case("gpt")
    (alias, name), *_ = graph.shared.items()
    tensors = {alias if key == name else key: tensor for key, tensor in checkpoint.tensors.items()}
    one, other = graph.to_pyg(checkpoint), graph.to_pyg(Checkpoint(tensors, shared={name: alias}))
    kinds = [kind for kind in one.edge_types if one[kind].get("tensor") == name]
    assert kinds and all(torch.equal(one[kind].edge_attr, other[kind].edge_attr) for kind in kinds)


def test_names_that_pyg_would_misread_are_written_otherwise():
    axes = [Axis("a__b", 2, "input"), Axis("a_ _b", 2, "hidden"), Axis("c___", 1, "output")]
    x, h, y = (Leaf(axis.name) for axis in axes)
    graph = make(axes, {"w__1": ("linear", "oi", (h, x)), "w__2": ("linear", "oi", (y, h))})
    data = graph.to_pyg()
    assert [data[kind].axis for kind in data.node_types] == ["a__b", "a_ _b", "c___"]
    assert [data[kind].tensor for kind in data.edge_types] == ["w__1", "w__2"]
    assert not [name for name in (*data.node_types, *(kind[1] for kind in data.edge_types)) if "__" in name]


def test_too_many_edges_are_refused_before_any_is_made(monkeypatch):
    monkeypatch.setattr(pyg, "MOST_EDGES", 23)
    graph, _ = case("lenet5")
    with pytest.raises(GraphError, match=r"\d+ weights would each become an edge, at most 23 do. Use Encoder"):
        graph.to_pyg()


def test_another_checkpoint_is_refused():
    graph, _ = case("mlp")
    with pytest.raises(GraphError, match="does not hold"):
        graph.to_pyg(Checkpoint({"0.weight": torch.zeros(2, 2)}))
