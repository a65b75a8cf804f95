"""Recorded losses have the gradients that are computed anew."""

import torch
from torch import Generator, nn

from weightspace.train.recorded import Recorded


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def test_gradients_are_those_of_what_is_told_and_of_parameters_as_they_are(device):
    weight, unused = (nn.Parameter(draw(3, 3, seed=i).to(device)) for i in range(2))
    recorded = Recorded([weight, unused])
    for seed in range(3):
        x = draw(4, 3, seed=10 + seed).to(device)
        value = recorded.backward("square", lambda x: (x @ weight).square().sum(), [x])
        assert unused.grad is None
        torch.testing.assert_close(weight.grad, 2 * x.T @ (x @ weight.detach()))
        torch.testing.assert_close(value, (x @ weight.detach()).square().sum())
        with torch.no_grad():
            weight.sub_(0.1 * weight.grad)


def test_another_kind_and_another_shape_have_gradients_of_their_own(device):
    weight = nn.Parameter(draw(3, 3, seed=0).to(device))
    recorded = Recorded([weight])
    losses = {"sum": lambda x: (x @ weight).sum(), "square": lambda x: (x @ weight).square().sum()}
    told = [(kind, draw(rows, 3, seed=rows).to(device)) for kind in losses for rows in (2, 5)]
    found = {}
    for kind, x in told * 2:
        recorded.backward(kind, losses[kind], [x])
        (wanted,) = torch.autograd.grad(losses[kind](x), [weight])
        torch.testing.assert_close(weight.grad, wanted)
        found[kind, len(x)] = weight.grad.clone()
    assert len({float(grad.sum()) for grad in found.values()}) == len(told)
