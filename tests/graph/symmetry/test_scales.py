"""Networks in a stack are balanced as each would be alone, whatever powers of factors meet in a number."""

import pytest
import torch
from torch import nn

from tests.graph.symmetry.networks import seeded
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry import scales
from weightspace.graph.symmetry.balance import balance
from weightspace.graph.symmetry.rescale import rescale, scalable
from weightspace.graph.symmetry.scales import Rescalings
from weightspace.graph.trace import trace_graph


class Residual(nn.Module):
    """The units of one axis are read and written by the same tensor."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = self.stem(x).relu()
        return self.head((h + self.block(h)).relu())


def plain():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2))


NETWORKS = {"plain": (plain, (2, 1, 5, 5)), "residual": (Residual, (2, 3))}


def stack(name, models=3):
    make, shape = NETWORKS[name]
    module, generator = make().double(), seeded(1)
    weights = {n: torch.randn(models, *t.shape, generator=generator).double() for n, t in module.state_dict().items()}
    x = torch.randn(shape, generator=generator).double()
    return module, weights, x, trace_graph(module, (x,))


def row(weights, i):
    return {name: tensor[i] for name, tensor in weights.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stack_keeps_its_functions_and_forgets_its_scales(name):
    module, weights, x, graph = stack(name)
    rescalings = Rescalings.of(graph)
    even = rescalings.balance(weights)
    logs = {a: torch.rand(3, n, generator=seeded(2)).double() for a, n in rescalings.units.items()}
    other = rescalings.multiply(weights, logs)
    again = rescalings.balance(other)
    for i in range(3):
        told = [torch.func.functional_call(module, row(w, i), (x,)) for w in (weights, even, other)]
        torch.testing.assert_close(told[1], told[0])
        torch.testing.assert_close(told[2], told[0])
    for key, tensor in even.items():
        torch.testing.assert_close(again[key], tensor, rtol=1e-6, atol=1e-9)
    assert any(not torch.allclose(weights[key], tensor, rtol=0.05) for key, tensor in even.items())
    assert sum(t.square().sum() for t in even.values()) < sum(t.square().sum() for t in weights.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stack_is_balanced_as_each_network_alone(name):
    _, weights, _, graph = stack(name)
    even = Rescalings.of(graph).balance(weights)
    for i in range(3):
        alone = balance(Checkpoint(row(weights, i)), graph).tensors
        for key, tensor in alone.items():
            torch.testing.assert_close(even[key][i], tensor, rtol=1e-6, atol=1e-9)


def test_units_that_a_tensor_both_reads_and_writes_are_balanced():
    _, weights, _, graph = stack("residual")
    checkpoint, (axis,) = Checkpoint(row(weights, 0)), scalable(graph)
    even = balance(checkpoint, graph).tensors
    other = rescale(checkpoint, graph, {axis: torch.arange(1.0, 6.0)})
    torch.testing.assert_close(dict(balance(other, graph).tensors), dict(even), rtol=1e-6, atol=1e-9)
    wrote = even["stem.weight"].square().sum(1) + even["stem.bias"].square() + even["block.bias"].square()
    wrote = wrote + even["block.weight"].square().sum(1)
    torch.testing.assert_close(wrote, even["block.weight"].square().sum(0) + even["head.weight"].square().sum(0))


def test_a_scale_that_all_units_share_settles_although_little_holds_it(monkeypatch):
    _, weights, _, graph = stack("residual")
    weights["block.weight"] = 20 * weights["block.weight"]  # the same whatever scale its units share
    rescalings, rounds, real = Rescalings.of(graph), [], Rescalings._step
    energies = rescalings.energies(weights)

    def counted(self, *given):
        rounds.append(real(self, *given))
        return rounds[-1]

    monkeypatch.setattr(Rescalings, "_step", counted)
    (axis, settled), *_ = rescalings.settle(energies).items()
    creeping = {axis: torch.zeros_like(settled)}
    for _ in rounds:
        left = real(rescalings, energies, creeping, axis)
    assert len(rounds) < 400 and rounds[-1] < scales.SETTLED < left / 1e3
    assert (creeping[axis] - settled).abs().max() > 0.1
    other = rescalings.multiply(weights, {axis: torch.full_like(settled, 0.5)})
    torch.testing.assert_close(rescalings.settle(rescalings.energies(other))[axis] + 0.5, settled, rtol=0, atol=1e-5)


def test_energies_are_read_in_pieces_and_tiles_can_be_scaled_apart(monkeypatch):
    _, weights, _, graph = stack("plain")
    rescalings = Rescalings.of(graph)
    whole = rescalings.energies(weights)
    even = rescalings.balance(weights)
    monkeypatch.setattr(scales, "TOGETHER", 16)
    for key, energy in rescalings.energies(weights).items():
        torch.testing.assert_close(energy, whole[key])
    tile = weights["2.weight"][:, 1:]
    for factor in rescalings.factors("2.weight", rescalings.settle(whole)):
        tile = tile * (factor[:, 1:] if factor.shape[1] > 1 else factor)
    torch.testing.assert_close(tile, even["2.weight"][:, 1:])


def test_names_alone_let_nothing_be_read_or_moved():
    weights = {"0.weight": torch.randn(2, 4, 3, generator=seeded(0)), "2.weight": torch.randn(2, 2, 4)}
    rescalings = Rescalings.of(infer_graph(Checkpoint(row(weights, 0))))
    assert not rescalings.energies(weights)
    assert all(rescalings.balance(weights)[name] is tensor for name, tensor in weights.items())
