"""Aligned networks compute what they did, and lie as near to the other as weight matching can bring them."""

import json
from itertools import permutations, product

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import weightspace
from tests.architectures import ARCHITECTURES
from tests.graph.symmetry.networks import CASES, Case, attention, graph_of, grouped, layer, mlp, seeded
from tests.graph.symmetry.traced import differing, traced
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.align import align, match_units
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel, relabel_only


def relabelled(checkpoint, graph, seed):
    return relabel(checkpoint, graph, random_permutations(graph, generator=seeded(seed)))


def noisy(checkpoint, share, seed):
    """Add noise of a share of each tensor's own deviation."""
    g = seeded(seed)
    tensors = {
        name: t + share * t.std(correction=0) * torch.randn(t.shape, generator=g).to(t) if t.is_floating_point() else t
        for name, t in checkpoint.tensors.items()
    }
    return Checkpoint(tensors, shared=checkpoint.shared)


def distance(a, b, graph):
    """Between the weights; what was measured on data is none."""
    names = [n for n in a.tensors if n in graph.blocks and not graph.blocks[n].kind.startswith("running")]
    return float(sum((a.tensors[n].double() - b.tensors[n].double()).square().sum() for n in names) ** 0.5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_relabelled_copy_comes_back_bit_for_bit(name):
    net = traced(name)
    checkpoint = net.draw(0)

    for seed in range(2):
        assert not differing(align(relabelled(checkpoint, net.graph, seed), checkpoint, net.graph), checkpoint)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_a_relabelled_copy_comes_back_along_hand_written_graphs(name, seed):
    case = CASES[name]()

    found = align(relabelled(case.checkpoint, case.graph, seed), case.checkpoint, case.graph)

    assert not differing(found, case.checkpoint)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_copy_with_noise_finds_its_old_order(name):
    net = traced(name)
    checkpoint = net.draw(0)
    moved = noisy(checkpoint, 0.1, 1)

    assert not differing(align(relabelled(moved, net.graph, 2), checkpoint, net.graph), moved)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_strangers_come_nearer_than_any_random_relabelling_and_compute_what_they_did(name):
    net = traced(name)
    a, b = net.draw(1), net.draw(2)

    found = align(a, b, net.graph)

    drawn = [distance(relabelled(a, net.graph, seed), b, net.graph) for seed in range(10)]
    assert distance(found, b, net.graph) < min(*drawn, distance(a, b, net.graph))
    assert net.error(a, found) < 1e-9


def test_the_distance_never_rises_where_an_axis_meets_itself():
    """There the best step by the linear part may be a step back, and has to be refused."""
    block = Block("w", "recurrent gate", (Leaf("h"), Leaf("h")), "oi", 36)
    graph = ParameterGraph({"h": Axis("h", 6, "hidden")}, {"w": block}, (), "infer")

    for seed in range(20):
        g = seeded(seed)
        a, b = (Checkpoint({"w": torch.randn(6, 6, generator=g)}) for _ in "ab")
        near = align(a, b, graph)
        again = align(near, b, graph)
        assert distance(again, b, graph) <= distance(near, b, graph) <= distance(a, b, graph)


def test_a_copy_with_a_broken_tie_does_not_come_back():
    case = grouped()
    orders = random_permutations(case.graph, generator=seeded(0))
    broken = relabel_only(case.checkpoint, case.graph, {"o": orders["o"]}, [("2.weight", 0)])

    assert differing(align(broken, case.checkpoint, case.graph), case.checkpoint)


def test_one_hidden_layer_gets_the_best_of_all_permutations():
    x, h, y = Axis("x", 3, "input"), Axis("h", 5, "hidden"), Axis("y", 2, "output")
    axes = {axis.name: axis for axis in (x, h, y)}
    dims = {"in": (Leaf("h"), Leaf("x")), "out": (Leaf("y"), Leaf("h"))}
    blocks = {n: Block(n, "linear", d, "oi", 15 if n == "in" else 10) for n, d in dims.items()}
    graph, g = ParameterGraph(axes, blocks, (), "infer"), seeded(0)
    a, b = (Checkpoint({"in": torch.randn(5, 3, generator=g), "out": torch.randn(2, 5, generator=g)}) for _ in "ab")

    every = [distance(relabel(a, graph, {"h": list(order)}), b, graph) for order in permutations(range(5))]

    assert distance(align(a, b, graph), b, graph) == min(every) < np.median(every)


def test_heads_get_the_best_of_all_matchings_of_heads_and_their_units():
    """With the stream fixed, heads and their units are independent: the exact optimum can be reached."""
    heads, units = Axis("heads", 3, "hidden"), Axis("u", 3, "hidden", parent="heads")
    stream = Axis("res", 4, "fixed", "stands still")
    block = Block("w", "linear", (Prod((Leaf("heads"), Leaf("u"))), Leaf("res")), "oi", 36)
    graph, g = ParameterGraph({a.name: a for a in (heads, units, stream)}, {"w": block}, (), "infer"), seeded(3)
    a, b = (Checkpoint({"w": torch.randn(9, 4, generator=g, dtype=torch.float64)}) for _ in "ab")

    orders = list(permutations(range(3)))
    every = [
        float(
            (
                a.tensors["w"].reshape(3, 3, 4)[list(h), :][torch.arange(3)[:, None], torch.tensor(u)]
                - b.tensors["w"].reshape(3, 3, 4)
            ).norm()
        )
        for h, u in product(orders, product(orders, repeat=3))
    ]

    assert distance(align(a, b, graph), b, graph) == pytest.approx(min(every), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_axes_nest_three_deep(seed):
    g, q, u = Axis("g", 3, "hidden"), Axis("q", 2, "hidden", parent="g"), Axis("u", 4, "hidden", parent="q")
    axes = {a.name: a for a in (Axis("x", 6, "input"), g, q, u)}
    block = Block("w", "linear", (Prod((Leaf("g"), Leaf("q"), Leaf("u"))), Leaf("x")), "oi", 144)
    graph = ParameterGraph(axes, {"w": block}, (), "infer")
    checkpoint = Checkpoint({"w": torch.randn(24, 6, generator=seeded(9))})

    assert not differing(align(relabelled(checkpoint, graph, seed), checkpoint, graph), checkpoint)


def test_the_matching_says_which_unit_of_a_meets_each_unit_of_b():
    case = attention()
    orders = random_permutations(case.graph, generator=seeded(4))

    found = match_units(case.checkpoint, relabel(case.checkpoint, case.graph, orders), case.graph)

    assert found.keys() == orders.keys()
    assert all(torch.equal(found[name], order) for name, order in orders.items())


def test_running_statistics_do_not_count():
    net = traced("vgg_bn")
    a, b = net.draw(1), net.draw(2)
    louder = {n: t * 1e6 if "running" in n else t for n, t in a.tensors.items()}

    found, other = (match_units(side, b, net.graph) for side in (a, Checkpoint(louder)))

    assert all(torch.equal(order, other[name]) for name, order in found.items())


def test_one_generator_state_gives_one_result():
    net = traced("bidirectional_gru")
    a, b = net.draw(1), net.draw(2)

    first, again = (align(a, b, net.graph, generator=seeded(5)) for _ in range(2))

    assert not differing(first, again)


def test_tied_weights_are_found_under_either_name():
    net = traced("gpt")
    checkpoint = net.draw(0)
    (alias, name), *_ = checkpoint.shared.items()
    renamed = {alias if n == name else n: t for n, t in relabelled(checkpoint, net.graph, 1).tensors.items()}

    found = align(Checkpoint(renamed, shared={name: alias}), checkpoint, net.graph)

    assert torch.equal(found.tensors[alias], checkpoint.tensors[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.complex64])
def test_any_dtype_comes_back(dtype):
    case = grouped()
    cast = Checkpoint({name: t.mul(9).to(dtype) for name, t in case.checkpoint.tensors.items()})

    assert not differing(align(relabelled(cast, case.graph, 5), cast, case.graph), cast)


def test_numbers_that_are_not_finite_do_not_count():
    case = mlp()
    broken = {name: t.clone() for name, t in case.checkpoint.tensors.items()}
    broken["0.weight"][1, 1], broken["2.bias"][3] = torch.nan, torch.inf
    checkpoint = Checkpoint(broken)

    assert not differing(align(relabelled(checkpoint, case.graph, 5), checkpoint, case.graph), checkpoint)


def test_networks_of_two_widths_are_refused():
    with pytest.raises(GraphError, match=r"shape \(8, 3\), its block in the graph \(7, 3\)"):
        align(mlp().checkpoint, mlp(widths=(3, 8, 5, 2)).checkpoint, mlp().graph)


def test_the_graph_is_built_where_none_is_given():
    checkpoint = mlp().checkpoint

    assert not differing(weightspace.align(relabelled(checkpoint, mlp().graph, 1), checkpoint), checkpoint)


def trained(x, y, seed):
    """A hidden layer of 256 units, trained on handwritten digits, and its graph."""
    g = seeded(seed)
    module = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)).double()
    for weight in module.parameters():
        weight.data = torch.randn(weight.shape, generator=g).double() / weight.shape[-1] ** 0.5
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimiser.step()
    axes = [Axis("x", 64, "input"), Axis("h", 256, "hidden"), Axis("y", 10, "output")]
    blocks = [
        layer(module, "0", "linear", (Leaf("h"), Leaf("x"))),
        layer(module, "2", "linear", (Leaf("y"), Leaf("h"))),
    ]
    return Case(module, graph_of(axes, blocks, ()), x)


def test_the_mean_of_two_trained_networks_works_once_they_are_aligned():
    data = load_digits()
    x, y = torch.from_numpy(data.data / 16), torch.from_numpy(data.target)
    one, other = (trained(x, y, seed) for seed in (0, 1))
    aligned = align(one.checkpoint, other.checkpoint, one.graph)

    def loss(checkpoint):
        mean = {n: (t + other.checkpoint.tensors[n]) / 2 for n, t in checkpoint.tensors.items()}
        return float(torch.nn.functional.cross_entropy(one.run(Checkpoint(mean)), y))

    assert one.error(aligned) < 1e-9
    print(f"loss half way: {loss(one.checkpoint):.3f} as trained, {loss(aligned):.3f} aligned")
    assert loss(aligned) < 0.7 * loss(one.checkpoint)


def real(folder, name):
    entries = json.loads((folder / "manifest.json").read_text())["checkpoints"]
    return load_checkpoint(folder / next(e["file"] for e in entries if e["id"] == name))


@pytest.mark.parametrize("name", ["cifar10_resnet20", "mnist_lenet5", "gpt_by_hand", "rnnoise/beguiling_drafter"])
def test_relabelled_real_checkpoints_come_back_even_with_noise(name, shared_checkpoints):
    checkpoint = real(shared_checkpoints, name)
    graph = infer_graph(checkpoint)
    moved = noisy(checkpoint, 0.01, 0)

    found = align(relabelled(moved, graph, 1), checkpoint, graph)

    assert graph.free_units > 0
    assert distance(found, checkpoint, graph) <= distance(moved, checkpoint, graph) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rnnoise/beguiling_drafter", "rnnoise/conjoined_burgers"),
        ("ani_1x_8x/train0_C", "ani_1x_8x/train1_C"),
        ("sb3_zoo/ppo_BipedalWalker-v3", "sb3_zoo/ppo_BipedalWalkerHardcore-v3"),
    ],
)
def test_real_trainings_come_nearer(one, other, shared_checkpoints):
    a, b = (real(shared_checkpoints, name) for name in (one, other))
    graph = infer_graph(a)

    before, after = distance(a, b, graph), distance(align(a, b, graph), b, graph)

    print(f"{one} to {other}: {before:.2f} before, {after:.2f} aligned")
    assert after < 0.95 * before
    assert after < min(distance(relabelled(a, graph, seed), b, graph) for seed in range(5))
