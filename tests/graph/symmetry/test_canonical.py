"""All relabellings of one network have one canonical form, which computes the same; other networks have others."""

import json

import pytest
import torch

from tests.architectures import ARCHITECTURES
from tests.graph.symmetry.networks import CASES, attention, grouped, mlp, residual, seeded
from tests.graph.symmetry.traced import differing, traced
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod, Sum
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.canonical import canonicalise
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import places, relabel, relabel_only

REAL = ("cifar10_resnet20", "rnnoise/beguiling_drafter", "gpt_by_hand", "mnist_lenet5", "minilm_l6_v2_layers0to1_fp16")


def relabelled(checkpoint, graph, seed):
    return relabel(checkpoint, graph, random_permutations(graph, generator=seeded(seed)))


def graph_of(axes, blocks):
    return ParameterGraph({a.name: a for a in axes}, {b.tensor: b for b in blocks}, (), "infer")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_relabelling_has_one_canonical_form_with_the_same_function(name):
    net = traced(name)
    checkpoint = net.draw(0)
    form = canonicalise(checkpoint, net.graph)

    for seed in range(4):
        moved = relabelled(checkpoint, net.graph, seed)
        assert differing(moved, form)
        assert not differing(canonicalise(moved, net.graph), form)
    assert not differing(canonicalise(form, net.graph), form)
    assert net.error(checkpoint, form) < 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_hand_written_graphs_have_one_canonical_form_too(name, seed):
    case = CASES[name]()
    form = canonicalise(case.checkpoint, case.graph)

    assert not differing(canonicalise(relabelled(case.checkpoint, case.graph, seed), case.graph), form)
    assert case.error(form) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_a_relabelling_that_breaks_one_tie_has_another_form(name):
    case = CASES[name]()
    form, orders = canonicalise(case.checkpoint, case.graph), random_permutations(case.graph, generator=seeded(7))
    mutants = [(axis, place) for axis in orders for place in places(case.graph, axis)]

    for axis, place in mutants:
        broken = relabel_only(case.checkpoint, case.graph, {axis: orders[axis]}, [place])
        assert differing(canonicalise(broken, case.graph), form), (axis, place)
    assert len(mutants) >= 6


def test_the_last_bit_of_one_weight_changes_the_form():
    case = residual()
    weight = case.checkpoint.tensors["conv1.weight"].clone()
    weight[2, 1, 0, 0] = torch.nextafter(weight[2, 1, 0, 0], torch.tensor(9.0).double())
    other = Checkpoint({**case.checkpoint.tensors, "conv1.weight": weight})

    assert differing(canonicalise(other, case.graph), canonicalise(case.checkpoint, case.graph)) == ["conv1.weight"]


def test_the_strongest_comes_first_in_each_parent():
    x, g, u = Axis("x", 1, "input"), Axis("g", 2, "hidden"), Axis("u", 2, "hidden", parent="g")
    block = Block("w", "linear", (Prod((Leaf("g"), Leaf("u"))), Leaf("x")), "oi", 4)
    checkpoint = Checkpoint({"w": torch.tensor([[1.0], [2], [-5], [-7]])})

    assert canonicalise(checkpoint, graph_of([x, g, u], [block])).tensors["w"].flatten().tolist() == [-7, -5, 2, 1]


def test_each_block_counts_alike_however_large_its_weights():
    axes = [Axis("x", 1, "input"), Axis("h", 2, "hidden"), Axis("y", 1, "output")]
    blocks = [
        Block("in", "linear", (Leaf("h"), Leaf("x")), "oi", 2),
        Block("out", "linear", (Leaf("y"), Leaf("h")), "oi", 2),
    ]
    checkpoint = Checkpoint({"in": torch.tensor([[600.0], [400]]), "out": torch.tensor([[0.1, 0.3]])})

    found = canonicalise(checkpoint, graph_of(axes, blocks)).tensors

    assert found["in"].flatten().tolist() == [400, 600]  # shares 0.4 + 0.75 against 0.6 + 0.25
    assert found["out"].flatten().tolist() == pytest.approx([0.3, 0.1])


def test_a_network_nearby_has_an_order_nearby():
    case = attention()
    before = case.checkpoint.tensors
    noisy = {n: t + 1e-9 * torch.randn(t.shape, generator=seeded(1)).double() for n, t in before.items()}
    near = canonicalise(relabelled(Checkpoint(noisy), case.graph, 3), case.graph)

    for name, tensor in canonicalise(case.checkpoint, case.graph).tensors.items():
        torch.testing.assert_close(near.tensors[name], tensor, rtol=0, atol=1e-7)


def chain(first, second, third):
    """Three layers `x -> a -> b -> y` of one input and one output."""
    sizes = (len(first), len(second))
    axes = [Axis("x", 1, "input"), Axis("a", sizes[0], "hidden"), Axis("b", sizes[1], "hidden"), Axis("y", 1, "output")]
    names = ("x", "a", "b", "y")
    tensors = {f"w{k}": torch.as_tensor(w).float() for k, w in enumerate((first, second, third))}
    blocks = [
        Block(f"w{k}", "linear", (Leaf(names[k + 1]), Leaf(names[k])), "oi", tensors[f"w{k}"].numel()) for k in range(3)
    ]
    return Checkpoint(tensors), graph_of(axes, blocks)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "weights",
    [
        (torch.ones(6, 1), torch.eye(6), torch.ones(1, 6)),  # ties in `b` follow those in `a`
        (torch.ones(6, 1), torch.eye(6).roll(2, 0), torch.ones(1, 6)),
        (torch.zeros(6, 1), torch.zeros(6, 6), torch.zeros(1, 6)),
        (torch.ones(6, 1), torch.ones(6, 6), torch.tensor([[1.0, 1, 1, 2, 2, -2]])),
        (torch.tensor([[1.0], [1], [1], [-1], [-1], [-1]]), torch.eye(6), torch.ones(1, 6)),
    ],
)
def test_units_that_are_copies_of_each_other_still_give_one_form(weights, seed):
    checkpoint, graph = chain(*weights)

    found = canonicalise(relabelled(checkpoint, graph, seed), graph)

    assert not differing(found, canonicalise(checkpoint, graph))


@pytest.mark.parametrize("seed", range(4))
def test_equal_strength_is_told_apart_by_what_the_neighbours_are(seed):
    signs = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, -1], [-1, -1, -1, -1]])
    checkpoint, graph = chain(torch.ones(4, 1), signs, torch.ones(1, 4))

    assert not differing(
        canonicalise(relabelled(checkpoint, graph, seed), graph),
        canonicalise(checkpoint, graph),
    )


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_heads_and_of_units_within_heads_give_one_form(seed):
    case = attention()
    ones = {name: torch.ones_like(tensor) for name, tensor in case.checkpoint.tensors.items()}
    ones["qkv.weight"][:6, 0] = torch.tensor([2.0, 3, 3, 3, 3, 2])
    checkpoint = Checkpoint(ones)

    found = canonicalise(relabelled(checkpoint, case.graph, seed), case.graph)

    assert not differing(found, canonicalise(checkpoint, case.graph))


@pytest.mark.parametrize("seed", range(3))
def test_axes_nest_three_deep(seed):
    g, q, u = Axis("g", 3, "hidden"), Axis("q", 2, "hidden", parent="g"), Axis("u", 4, "hidden", parent="q")
    nested = Prod((Leaf("g"), Leaf("q"), Leaf("u")))
    blocks = [
        Block("in", "linear", (nested, Leaf("x")), "oi", 48),
        Block("b", "bias", (Sum((Prod((Leaf("g"), Leaf("q"))), nested)),), "o", 30),
    ]
    graph = graph_of([Axis("x", 2, "input"), g, q, u], blocks)
    checkpoint = Checkpoint({"in": torch.randn(24, 2, generator=seeded(0)), "b": torch.randn(30, generator=seeded(1))})

    found = canonicalise(relabelled(checkpoint, graph, seed), graph)

    assert not differing(found, canonicalise(checkpoint, graph)) and differing(found, checkpoint)


def test_one_copy_for_all_parents_keeps_one_order_for_them():
    axes = [Axis("x", 1, "input"), Axis("g", 2, "hidden"), Axis("u", 3, "hidden", parent="g")]
    blocks = [
        Block("w", "linear", (Prod((Leaf("g"), Leaf("u"))), Leaf("x")), "oi", 6),
        Block("gain", "norm scale", (Leaf("u"),), "o", 3),
    ]
    graph = graph_of(axes, blocks)
    checkpoint = Checkpoint({"w": torch.tensor([[1.0], [2], [3], [30], [20], [10]]), "gain": torch.ones(3)})
    form = canonicalise(checkpoint, graph)

    assert form.tensors["w"].flatten().tolist() == [30, 20, 10, 1, 2, 3]
    assert not differing(canonicalise(relabel(checkpoint, graph, {"g": [1, 0], "u": [2, 0, 1]}), graph), form)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.bool, torch.complex64],
)
@pytest.mark.parametrize("build", [mlp, grouped])
def test_any_dtype_has_one_form(build, dtype):
    case = build()
    cast = Checkpoint(
        {name: (t > 0 if dtype is torch.bool else t.mul(9).to(dtype)) for name, t in case.checkpoint.tensors.items()}
    )

    found = canonicalise(relabelled(cast, case.graph, 5), case.graph)

    assert not differing(found, canonicalise(cast, case.graph))
    assert all(t.dtype == dtype for t in found.tensors.values())


def test_numbers_that_are_not_finite_have_one_form():
    case = mlp()
    broken = {name: t.clone() for name, t in case.checkpoint.tensors.items()}
    broken["0.weight"][1], broken["2.weight"][0, 2], broken["2.bias"][3] = torch.nan, torch.inf, -torch.inf
    checkpoint = Checkpoint(broken)

    found = canonicalise(relabelled(checkpoint, case.graph, 5), case.graph)

    assert not differing(found, canonicalise(checkpoint, case.graph))


def test_what_is_no_weight_is_kept():
    case = mlp()
    extra = {**case.checkpoint.tensors, "steps": torch.tensor(5)}
    checkpoint = Checkpoint(extra, {"k": "v"}, "net.pt", {"alias": "0.weight"}, {"optimizer": "not weights"})

    form = canonicalise(checkpoint, case.graph)

    assert (form.metadata, form.source, form.shared) == (checkpoint.metadata, "net.pt", checkpoint.shared)
    assert form.left_out == checkpoint.left_out and form.tensors["steps"] == 5


def test_a_graph_of_another_checkpoint_is_refused():
    with pytest.raises(GraphError, match=r"shape \(7, 3\), its block in the graph \(8, 3\)"):
        canonicalise(mlp().checkpoint, mlp(widths=(3, 8, 5, 2)).graph)


@pytest.mark.parametrize("name", REAL)
def test_relabellings_of_real_checkpoints_have_one_form(name, shared_checkpoints):
    entries = json.loads((shared_checkpoints / "manifest.json").read_text())["checkpoints"]
    checkpoint = load_checkpoint(shared_checkpoints / next(e["file"] for e in entries if e["id"] == name))
    graph = infer_graph(checkpoint)
    moved = relabelled(checkpoint, graph, 1)

    assert graph.free_units > 0 and differing(moved, checkpoint)
    assert not differing(canonicalise(moved, graph), canonicalise(checkpoint, graph))
