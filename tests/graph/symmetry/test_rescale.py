"""Rescaling keeps the function where the activation lets factors pass, and is refused where it does not."""

import pytest
import torch
from torch import nn

from tests.graph.symmetry.networks import attention, grouped, mlp, residual, seeded
from weightspace.errors import GraphError
from weightspace.graph.symmetry.rescale import rescale


def positive(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(2)).double() * 3 + 0.1


def signs(*shape: int) -> torch.Tensor:
    return torch.randint(0, 2, shape, generator=seeded(2)).double() * 2 - 1


@pytest.mark.parametrize(
    ("case", "axis", "factors"),
    [
        (mlp(), "h1", positive(7)),
        (mlp(nn.LeakyReLU(), ("leaky_relu",)), "h2", positive(5)),
        (mlp(nn.Tanh(), ("tanh",)), "h2", signs(5)),
        (mlp(nn.Identity(), ()), "h1", positive(7) * signs(7)),
        (residual(), "mid", positive(6)),
        (residual(), "res", positive(4)),
        (grouped(), "i", positive(3, 2)),
        (grouped(), "o", positive(3, 3)),
        (attention(), "vo", positive(2, 3) * signs(2, 3)),
    ],
)
def test_rescaling_keeps_the_function(case, axis, factors):
    scaled = rescale(case.checkpoint, case.graph, {axis: factors})

    assert case.error(scaled) < 1e-12
    moved = [name for name, t in case.checkpoint.tensors.items() if not torch.equal(scaled.tensors[name], t)]
    assert len(moved) >= 2
    half = {name: scaled.tensors[name] if name == moved[0] else t for name, t in case.checkpoint.tensors.items()}
    assert case.error(type(scaled)(half)) > 1e-6


@pytest.mark.parametrize(
    ("case", "axis", "factors", "text"),
    [
        (mlp(), "h1", -torch.ones(7), "'relu' follows '0'"),
        (mlp(nn.Tanh(), ("tanh",)), "h1", 2 * torch.ones(7), "'tanh' follows '0'"),
        (mlp(nn.GELU(), ("gelu",)), "h1", 2 * torch.ones(7), "'gelu' follows '0'"),
        (mlp(), "h1", torch.zeros(7), "with 7 zero or not finite"),
        (mlp(), "y", torch.ones(2), "axis 'y' is output"),
        (attention(), "qk", 2 * torch.ones(2, 3), "multiplies its units with others"),
        (grouped(), "G", 2 * torch.ones(3), "'i' lives in its units"),
    ],
)
def test_factors_that_do_not_pass_are_refused_by_name(case, axis, factors, text):
    with pytest.raises(GraphError, match=text):
        rescale(case.checkpoint, case.graph, {axis: factors})
