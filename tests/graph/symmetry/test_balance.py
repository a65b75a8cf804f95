"""All rescalings of a network are balanced to one, which computes the same function."""

import pytest
import torch
from torch import nn

from tests.graph.symmetry.networks import seeded
from tests.graph.symmetry.test_rescale import trial
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.balance import balance
from weightspace.graph.symmetry.rescale import rescale, scalable
from weightspace.graph.trace import trace_graph

NAMES = ["mlp", "vgg_bn", "resnet20", "mobilenet", "unet", "dcgan_generator", "senet", "vit", "llama"]


def apart(a, b):
    gaps = [(a.tensors[n] - t).abs().max() / (1e-300 + t.abs().max()) for n, t in b.tensors.items() if t.numel()]
    return float(max(gaps))


@pytest.mark.parametrize("name", NAMES)
def test_rescalings_balance_to_one_network_of_the_same_function(name):
    on = trial(name)
    even = balance(on.checkpoint, on.graph)
    factors = {axis: on.factors(axis, kind).abs() for axis, kind in scalable(on.graph).items() if kind != "sign"}
    other = rescale(on.checkpoint, on.graph, factors)
    assert apart(other, on.checkpoint) > 0.1 and apart(even, on.checkpoint) > 0.01
    assert on.error(even) < 1e-9
    assert apart(balance(other, on.graph), even) < 1e-5
    assert apart(balance(even, on.graph), even) < 1e-6


def test_what_makes_a_unit_is_as_large_as_what_reads_it():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    graph = trace_graph(net, (torch.zeros(1, 3).double(),))
    before = {name: t.detach().clone() for name, t in net.state_dict().items()}
    after = balance(Checkpoint(before), graph).tensors
    for made, read in (("0", "2"), ("2", "4")):
        writes = after[f"{made}.weight"].square().sum(1) + after[f"{made}.bias"].square()
        torch.testing.assert_close(writes, after[f"{read}.weight"].square().sum(0))
        assert not torch.allclose(writes, before[f"{read}.weight"].square().sum(0), rtol=0.05)
    total = [sum(float(t.square().sum()) for t in tensors.values()) for tensors in (after, before)]
    assert total[0] < total[1]


def test_units_that_nothing_makes_or_reads_and_signs_stay():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    graph = trace_graph(net, (torch.zeros(1, 3).double(),))
    tensors = {name: torch.randn(t.shape, generator=seeded(0)).double() for name, t in net.state_dict().items()}
    tensors["0.weight"][1], tensors["0.bias"][1], tensors["2.weight"][:, 2] = 0.0, 0.0, 0.0
    after = balance(Checkpoint(tensors), graph).tensors
    assert after["0.weight"][2].equal(tensors["0.weight"][2]) and after["2.weight"][:, 1].equal(
        tensors["2.weight"][:, 1]
    )
    assert after["4.weight"].equal(tensors["4.weight"]) and not after["0.weight"][0].equal(tensors["0.weight"][0])


def test_names_alone_show_no_activation_so_nothing_moves():
    checkpoint = Checkpoint({"0.weight": torch.randn(4, 3), "2.weight": torch.randn(2, 4)})
    assert apart(balance(checkpoint, infer_graph(checkpoint)), checkpoint) == 0.0
