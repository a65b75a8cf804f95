"""Products of weights in few digits with states in many."""

import pytest
import torch
from torch import Generator

from weightspace.nn.products import in_two_parts, times


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.fixture(params=[(3, 2), (3,)], ids=["channels", "plain"])
def factors(request):
    """Weights in bfloat16, states of one network for all of them, and their product."""
    large, small = draw(*request.param, 5, 70).bfloat16(), draw(1, *request.param[1:], 70, 4, seed=1)
    return large, small, large.double() @ small.double()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_neither_states_nor_sums_are_rounded_to_the_digits_of_the_weights(factors, device, turned, dtype):
    large, small, expected = factors
    found = times((large.mT if turned else large).to(device), small.to(device, dtype), turned=turned)
    assert found.dtype == dtype and apart(found.cpu(), expected) < 1e-5
    assert apart(large @ small.bfloat16(), expected) > 1e-3


@torch.no_grad()
def test_two_parts_of_states_have_twice_the_digits(factors, monkeypatch):
    monkeypatch.setattr(torch, "bmm", lambda a, b, out_dtype: a.to(out_dtype) @ b.to(out_dtype))
    large, small, expected = factors
    assert apart(in_two_parts(large, small), expected) < 1e-5
    assert apart(large.float() @ small.bfloat16().float(), expected) > 1e-3


def test_slopes_pass(factors, device):
    large, small, _ = factors
    small = small.to(device).requires_grad_()
    times(large.to(device), small).sum().backward()
    lines = large.double().sum(-2)[..., None].sum(0, keepdim=True).expand(small.shape)
    assert apart(small.grad.cpu(), lines) < 1e-5
