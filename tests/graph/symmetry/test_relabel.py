"""Relabelling keeps the function; relabelling one side of a tie does not."""

import numpy as np
import pytest
import torch

from tests.graph.symmetry.networks import CASES, attention, grouped, mlp, seeded
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod, Span, Sum
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import places, relabel, relabel_only


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_relabelling_keeps_the_function(name, seed):
    case = CASES[name]()
    orders = random_permutations(case.graph, generator=seeded(seed))

    moved = relabel(case.checkpoint, case.graph, orders)

    assert set(orders) == {a.name for a in case.graph.axes.values() if a.role == "hidden"}
    assert case.error(moved) < 1e-12
    assert any(not torch.equal(moved.tensors[n], t) for n, t in case.checkpoint.tensors.items())


@pytest.mark.parametrize("name", CASES)
def test_each_mutant_that_forgets_one_dimension_is_caught(name):
    case = CASES[name]()
    orders = random_permutations(case.graph, generator=seeded(7))
    mutants = [(axis, place) for axis in orders for place in places(case.graph, axis)]

    for axis, place in mutants:
        rest = set(places(case.graph, axis)) - {place}
        assert case.error(relabel_only(case.checkpoint, case.graph, {axis: orders[axis]}, rest)) > 1e-6, (axis, place)
        alone = relabel_only(case.checkpoint, case.graph, {axis: orders[axis]}, [place])
        assert case.error(alone) > 1e-6, (axis, place)
    assert len(mutants) >= 6


def test_unit_i_of_the_result_is_unit_order_i_of_the_input():
    axes = {"x": Axis("x", 2, "input"), "h": Axis("h", 3, "hidden")}
    blocks = {"w": Block("w", "linear", (Leaf("h"), Leaf("x")), "oi", 6), "b": Block("b", "bias", (Leaf("h"),), "o", 3)}
    checkpoint = Checkpoint({"w": torch.tensor([[1, 2], [3, 4], [5, 6]]).half(), "b": torch.tensor([7, 8, 9]).half()})

    moved = relabel(checkpoint, ParameterGraph(axes, blocks, (), "infer"), {"h": torch.tensor([2, 0, 1])})

    assert moved.tensors["w"].tolist() == [[5, 6], [1, 2], [3, 4]]
    assert moved.tensors["b"].tolist() == [9, 7, 8]


def test_orders_of_children_are_those_of_the_new_parent():
    axes = {"g": Axis("g", 2, "hidden"), "u": Axis("u", 2, "hidden", parent="g")}
    blocks = {"b": Block("b", "bias", (Prod((Leaf("g"), Leaf("u"))),), "o", 4)}
    checkpoint, graph = Checkpoint({"b": torch.tensor([0.0, 1, 10, 11])}), ParameterGraph(axes, blocks, (), "infer")

    moved = relabel(checkpoint, graph, {"g": [1, 0], "u": [[1, 0], [0, 1]]})

    assert moved.tensors["b"].tolist() == [11, 10, 0, 1]


def test_a_child_moves_with_a_parent_in_another_dimension():
    axes = {"g": Axis("g", 2, "hidden"), "i": Axis("i", 2, "hidden", parent="g"), "o": Axis("o", 1, "output")}
    blocks = {"w": Block("w", "conv", (Prod((Leaf("g"), Leaf("o"))), Leaf("i")), "oi", 4)}
    checkpoint, graph = (
        Checkpoint({"w": torch.tensor([[0.0, 1], [10, 11]])}),
        ParameterGraph(axes, blocks, (), "infer"),
    )

    moved = relabel(checkpoint, graph, {"g": [1, 0], "i": [[1, 0], [0, 1]]})

    assert moved.tensors["w"].tolist() == [[11, 10], [0, 1]]


def test_a_sum_inside_a_product_moves_every_segment():
    axes = {"h": Axis("h", 2, "hidden"), "d": Axis("d", 2, "hidden", parent="h")}
    term = Prod((Leaf("h"), Sum((Leaf("d"), Span(1)))))
    graph = ParameterGraph(axes, {"b": Block("b", "bias", (term,), "o", 6)}, (), "infer")
    checkpoint = Checkpoint({"b": torch.tensor([0.0, 1, 2, 10, 11, 12])})

    moved = relabel(checkpoint, graph, {"h": [1, 0], "d": [1, 0]})

    assert moved.tensors["b"].tolist() == [11, 10, 12, 1, 0, 2]


def test_an_axis_that_is_twice_in_one_dimension_moves_twice():
    axes = {"c": Axis("c", 2, "hidden")}
    graph = ParameterGraph(axes, {"b": Block("b", "bias", (Prod((Leaf("c"), Leaf("c"))),), "o", 4)}, (), "infer")

    moved = relabel(Checkpoint({"b": torch.tensor([0.0, 1, 10, 11])}), graph, {"c": [1, 0]})

    assert moved.tensors["b"].tolist() == [11, 10, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
@pytest.mark.parametrize("build", [mlp, grouped])
def test_any_dtype_moves_alike_and_back(build, dtype):
    case = build()
    orders = random_permutations(case.graph, generator=seeded(3))
    cast = Checkpoint({name: t.to(dtype) for name, t in case.checkpoint.tensors.items()})

    moved = relabel(cast, case.graph, orders).tensors

    for name, tensor in relabel(case.checkpoint, case.graph, orders).tensors.items():
        assert moved[name].dtype == dtype
        assert torch.equal(moved[name].double(), tensor.to(dtype).double())


def test_the_identity_changes_no_bit_and_the_input_is_kept():
    case = attention()
    before = case.checkpoint
    identity = {name: torch.arange(case.graph.axes[name].size) for name in ("res", "heads", "qk")}
    same = relabel(before, case.graph, identity)
    relabel(before, case.graph, random_permutations(case.graph, generator=seeded(0)))

    for name, tensor in case.checkpoint.tensors.items():
        assert torch.equal(same.tensors[name], tensor) and torch.equal(before.tensors[name], tensor)


def test_metadata_counters_and_shared_names_are_kept():
    case = mlp()
    extra = {**case.checkpoint.tensors, "steps": torch.tensor(5)}
    checkpoint = Checkpoint(extra, {"k": "v"}, "net.pt", {"alias": "0.weight"}, {"optimizer": "not weights"})

    moved = relabel(checkpoint, case.graph, random_permutations(case.graph, generator=seeded(0)))

    assert (moved.metadata, moved.source, moved.shared) == (checkpoint.metadata, "net.pt", checkpoint.shared)
    assert moved.left_out == checkpoint.left_out and moved.tensors["steps"] == 5


def test_a_tied_tensor_is_found_under_its_other_name():
    axes = {"v": Axis("v", 2, "input"), "h": Axis("h", 2, "hidden")}
    block = {"wte": Block("wte", "embedding", (Leaf("v"), Leaf("h")), "io", 4)}
    graph = ParameterGraph(axes, block, (), "trace", {"head": "wte"})
    weight = torch.tensor([[1.0, 2], [3, 4]])

    other = relabel(Checkpoint({"head": weight}, shared={"wte": "head"}), graph, {"h": [1, 0]})
    both = relabel(Checkpoint({"head": weight, "wte": weight}), graph, {"h": [1, 0]})

    assert other.tensors["head"].tolist() == both.tensors["wte"].tolist() == [[2, 1], [4, 3]]
    assert both.tensors["head"].tolist() == [[2, 1], [4, 3]]


@pytest.mark.parametrize(
    ("orders", "text"),
    [
        ({"h11": [0]}, "no axis 'h11' to relabel; the nearest are .*'h1'"),
        ({"x": [1, 0, 2]}, "axis 'x' is input; one can only relabel hidden axes"),
        ({"h1": [0, 1, 2, 3, 4, 5, 5]}, r"\[6\] never appear"),
        ({"h1": [0, 1]}, r"integers of shape \(7,\), not int64 of \(2,\)"),
        ({"h1": np.linspace(0, 6, 7)}, "not float64"),
    ],
)
def test_a_wrong_permutation_is_named(orders, text):
    case = mlp()
    with pytest.raises(GraphError, match=text):
        relabel(case.checkpoint, case.graph, orders)


def test_a_graph_of_another_checkpoint_is_refused():
    case = mlp()
    with pytest.raises(GraphError, match=r"shape \(7, 3\), its block in the graph \(8, 3\)"):
        relabel(case.checkpoint, mlp(widths=(3, 8, 5, 2)).graph, {})
    with pytest.raises(GraphError, match=r"blocks \['0.bias'"):
        relabel(Checkpoint({}), case.graph, {})


def test_one_copy_for_all_parents_cannot_move_differently_in_each():
    axes = {"g": Axis("g", 2, "hidden"), "u": Axis("u", 2, "hidden", parent="g")}
    graph = ParameterGraph(axes, {"b": Block("b", "norm scale", (Leaf("u"),), "o", 2)}, (), "infer")
    checkpoint = Checkpoint({"b": torch.tensor([0.0, 1])})

    assert relabel(checkpoint, graph, {"u": [1, 0]}).tensors["b"].tolist() == [1, 0]
    with pytest.raises(GraphError, match="one copy of units that exist in each unit of 'g'"):
        relabel(checkpoint, graph, {"u": [[1, 0], [0, 1]]})


def test_an_axis_without_units_takes_the_empty_order():
    axes = {"x": Axis("x", 3, "input"), "h": Axis("h", 0, "hidden")}
    graph = ParameterGraph(axes, {"w": Block("w", "linear", (Leaf("h"), Leaf("x")), "oi", 0)}, (), "infer")
    checkpoint = Checkpoint({"w": torch.zeros(0, 3)})

    assert relabel(checkpoint, graph, {"h": []}).tensors["w"].shape == (0, 3)
    with pytest.raises(GraphError, match="shape \\(0,\\)"):
        relabel(checkpoint, graph, {"h": [0]})
