"""A latent depends on the network, not on how its units are numbered; and on nothing less than its wiring."""

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from tests.encode.networks import GRAPHS, make, mlp, weights
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.network import Encoding, SweepConfig, SweepNetwork
from weightspace.encode.plan import compile_plan
from weightspace.errors import GraphError
from weightspace.graph.axes import Axis, Leaf, ParameterGraph, Prod, Span
from weightspace.graph.symmetry.orders import full_orders, random_permutations
from weightspace.graph.symmetry.relabel import places, relabel, relabel_only

SMALL = SweepConfig(width=8, pairs=12, waves=32, features=16, stage=12, latent=24)
NETWORK = SweepNetwork(SMALL, generator=Generator().manual_seed(0)).double()


def encode(graph: ParameterGraph, *checkpoints: Checkpoint, network: SweepNetwork = NETWORK) -> Encoding:
    names = graph.blocks
    return network(compile_plan(graph), {n: torch.stack([c.tensors[n] for c in checkpoints]) for n in names})


def whole_orders(graph: ParameterGraph, permutations: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Unit numbers over the whole network, parents major: new unit -> old unit."""
    orders, whole = full_orders(graph, permutations), {}
    for name in sorted(graph.axes, key=lambda axis: len(graph.lineage(axis))):
        axis = graph.axes[name]
        above = whole[axis.parent] if axis.parent else np.zeros(1, int)
        own = orders.get(name, np.arange(axis.size)).reshape(-1, axis.size)
        whole[name] = (above[:, None] * axis.size + np.broadcast_to(own, (len(above), axis.size))).ravel()
    return whole


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("seed", [0, 1])
def test_relabelling_keeps_the_vector_and_reorders_the_units(name, seed):
    graph, generator = GRAPHS[name], Generator().manual_seed(seed)
    checkpoint, permutations = weights(graph, seed), random_permutations(graph, generator=generator)
    before = encode(graph, checkpoint)
    after = encode(graph, relabel(checkpoint, graph, permutations))

    torch.testing.assert_close(after.vector, before.vector, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after.stages, before.stages, rtol=1e-9, atol=1e-9)
    for axis, order in whole_orders(graph, permutations).items():
        torch.testing.assert_close(after.units[axis], before.units[axis][:, order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_shuffling_one_side_of_any_tie_moves_the_vector(name):
    graph = GRAPHS[name]
    checkpoint, other = weights(graph), encode(graph, weights(graph, 1)).vector
    permutations = random_permutations(graph, generator=Generator().manual_seed(0))
    here = encode(graph, checkpoint).vector
    for axis in permutations:
        for place in places(graph, axis):
            shuffled = relabel_only(checkpoint, graph, {axis: permutations[axis]}, [place])
            moved = (encode(graph, shuffled).vector - here).norm()
            assert moved > 0.1 * (other - here).norm(), (axis, place)


def test_units_of_input_and_output_axes_have_their_places():
    graph = mlp(3, 8, 4)
    checkpoint = weights(graph)
    turned = Checkpoint(dict(checkpoint.tensors) | {"1.weight": checkpoint.tensors["1.weight"][:, [1, 2, 0]]})
    here, there = encode(graph, checkpoint), encode(graph, turned)
    assert (there.vector - here.vector).norm() > 1e-2


def test_the_order_of_a_fixed_axis_has_no_meaning():
    graph = GRAPHS["attention"]
    checkpoint = weights(graph)
    turned = Checkpoint(dict(checkpoint.tensors) | {"wpe": checkpoint.tensors["wpe"][[2, 0, 3, 1]]})
    torch.testing.assert_close(encode(graph, turned).vector, encode(graph, checkpoint).vector, rtol=1e-9, atol=1e-9)


def test_doubling_every_hidden_unit_doubles_the_unit_states():
    graph, wide = mlp(3, 6, 4), mlp(3, 12, 4)
    t = weights(graph).tensors
    doubled = Checkpoint(
        {"1.weight": t["1.weight"].repeat(2, 1), "1.bias": t["1.bias"].repeat(2)}
        | {"2.weight": t["2.weight"].repeat(1, 2) / 2, "2.bias": t["2.bias"]}
    )
    narrow, broad = encode(graph, weights(graph)), encode(wide, doubled)
    torch.testing.assert_close(broad.units["a1"], narrow.units["a1"].repeat(1, 2, 1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(broad.units["a2"], narrow.units["a2"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_batch_equals_one_by_one(name):
    graph = GRAPHS[name]
    checkpoints = [weights(graph, seed) for seed in range(3)]
    together = encode(graph, *checkpoints).vector
    for i, checkpoint in enumerate(checkpoints):
        torch.testing.assert_close(together[i], encode(graph, checkpoint).vector[0], rtol=1e-9, atol=1e-9)


def test_scaling_one_tensor_changes_its_statistics_and_the_vector():
    graph = mlp(3, 6, 4)
    checkpoint = weights(graph)
    scaled = Checkpoint(dict(checkpoint.tensors) | {"1.weight": checkpoint.tensors["1.weight"] * 10})
    assert (encode(graph, scaled).vector - encode(graph, checkpoint).vector).norm() > 1e-2


def test_every_parameter_can_be_learned():
    network = SweepNetwork(SMALL, generator=Generator().manual_seed(0)).double()
    parts = [encode(graph, weights(graph), network=network) for graph in GRAPHS.values()]
    sum(p.vector.square().sum() + p.stages.square().sum() for p in parts).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_the_gradient_is_the_slope():
    graph = mlp(2, 3, 2)
    plan, tensors = compile_plan(graph), {n: t[None] for n, t in weights(graph).tensors.items()}
    w, step = tensors["1.weight"], 1e-6
    at = w.clone().requires_grad_()
    NETWORK(plan, tensors | {"1.weight": at}).vector[0, 0].backward()
    up, down = (w.clone(), w.clone())
    up[0, 1, 0] += step
    down[0, 1, 0] -= step
    values = [NETWORK(plan, tensors | {"1.weight": x}).vector[0, 0].item() for x in (up, down)]
    assert float(at.grad[0, 1, 0]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3)


def test_zero_and_constant_tensors_say_nothing_and_break_nothing():
    graph = mlp(3, 6, 4)
    tensors = dict(weights(graph).tensors)
    for value in (0.0, 1.0):
        found = encode(graph, Checkpoint(tensors | {"1.bias": torch.full((6,), value, dtype=torch.float64)}))
        assert torch.isfinite(found.vector).all()


def test_the_same_seed_draws_the_same_network_and_leaves_the_global_one_alone():
    state = torch.random.get_rng_state()
    again = SweepNetwork(SMALL, generator=Generator().manual_seed(0)).double()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), NETWORK.parameters(), strict=True))


def test_tiles_give_what_the_whole_gives(monkeypatch):
    graph = GRAPHS["residual cnn"]
    whole = encode(graph, weights(graph))
    monkeypatch.setattr("weightspace.nn.tiles.STACK", 16)
    torch.testing.assert_close(encode(graph, weights(graph)).vector, whole.vector, rtol=1e-9, atol=1e-9)


def test_a_graph_without_weights_is_refused():
    with pytest.raises(GraphError, match="nothing to embed"):
        compile_plan(make([Axis("x", 3, "input")], {}))


def test_a_product_with_an_axis_twice_knows_no_slots():
    c = Leaf("c")
    graph = make([Axis("c", 3, "hidden"), Axis("y", 2, "output")], {"w": ("linear", "oi", (Leaf("y"), Prod((c, c))))})
    assert not compile_plan(graph).edges[0].source.slots.any()
    spans = make(
        [Axis("c", 3, "hidden"), Axis("y", 2, "output")], {"w": ("conv", "oi", (Leaf("y"), Prod((c, Span(2)))))}
    )
    assert compile_plan(spans).edges[0].source.slots.any()
