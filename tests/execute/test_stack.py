import pytest
import torch
from torch import nn

from weightspace.errors import ArchitectureError
from weightspace.execute.module import from_module, to_module
from weightspace.execute.stack import run_stacked, stack_tensors, unstack_tensors


def make_networks(count=3):
    torch.manual_seed(0)
    nets = [
        nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten()
        )
        for _ in range(count)
    ]
    return [net.double() for net in nets]


X = torch.randn(7, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_stack_answers_as_each_network_does():
    nets = [net.eval() for net in make_networks()]
    stacked = stack_tensors([net.state_dict() for net in nets])
    torch.testing.assert_close(run_stacked(nets[0], stacked, X), torch.stack([net(X) for net in nets]))
    own = torch.stack([X, 2 * X, -X])
    answers = torch.stack([net(x) for net, x in zip(nets, own, strict=True)])
    torch.testing.assert_close(run_stacked(nets[0], stacked, own, own=True), answers)
    program = to_module(from_module(nets[0], (X,)))  # asks its inputs for their size
    assert "sym_size" in str(program._program)
    torch.testing.assert_close(run_stacked(program, stacked, own, own=True), answers)


def test_one_network_is_a_stack_of_one():
    net = make_networks(1)[0].eval()
    torch.testing.assert_close(run_stacked(net, stack_tensors([net.state_dict()]), X)[0], net(X))


def test_gradients_reach_each_network_and_no_other():
    net = make_networks(1)[0].eval()
    stacked = stack_tensors([net.state_dict()] * 2)
    stacked["0.weight"] = stacked["0.weight"].requires_grad_()
    run_stacked(net, stacked, X)[0].square().sum().backward()
    net(X).square().sum().backward()
    torch.testing.assert_close(stacked["0.weight"].grad[0], net[0].weight.grad)
    assert not stacked["0.weight"].grad[1].any()


def test_unstacking_inverts_stacking():
    states = [net.state_dict() for net in make_networks()]
    for state, back in zip(states, unstack_tensors(stack_tensors(states)), strict=True):
        assert all(torch.equal(state[name], back[name]) for name in state)


def test_another_architecture_is_named():
    with pytest.raises(ArchitectureError, match=r"network 1 .*\['0.weight'\] differ"):
        stack_tensors([{"0.weight": torch.zeros(2)}, {"0.weight": torch.zeros(3)}])
