"""A single checkpoint and a stack of them take one way, and gradients reach the weights."""

from dataclasses import replace

import pytest
import torch

from tests.execute.test_module import networks
from weightspace.errors import ArchitectureError
from weightspace.execute.module import from_module
from weightspace.execute.run import run_checkpoints


def make(name: str, count: int = 3):
    build, x = networks()[name]
    torch.manual_seed(0)
    nets = [build().eval().double() for _ in range(count)]
    x = x.double() if x.is_floating_point() else x
    return nets, [from_module(net, (x,)) for net in nets], torch.cat([x, x.flip(0)])


@pytest.mark.parametrize("name", ["convolutional", "tied"])
def test_a_stack_and_each_checkpoint_alone_answer_as_the_modules_do(name):
    nets, checkpoints, x = make(name)
    together = run_checkpoints(checkpoints, x)
    for i, (net, checkpoint) in enumerate(zip(nets, checkpoints, strict=True)):
        torch.testing.assert_close(together[i], net(x), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(run_checkpoints([checkpoint], x)[0], net(x), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(together[0], together[1])


def test_gradients_reach_the_weights_of_each_checkpoint():
    nets, checkpoints, x = make("convolutional", 2)
    tensors = dict(checkpoints[1].tensors) | {"0.weight": checkpoints[1].tensors["0.weight"].clone().requires_grad_()}
    run_checkpoints([checkpoints[0], replace(checkpoints[1], tensors=tensors)], x)[1].square().sum().backward()
    nets[1](x).square().sum().backward()
    torch.testing.assert_close(tensors["0.weight"].grad, nets[1][0].weight.grad)


def test_nothing_and_other_programs_are_named():
    with pytest.raises(ArchitectureError, match="no networks to run"):
        run_checkpoints([], torch.zeros(1, 2))
    one, other = make("convolutional", 1), make("tied", 1)
    with pytest.raises(ArchitectureError, match="its program is not that of"):
        run_checkpoints([*one[1], *other[1]], one[2])
