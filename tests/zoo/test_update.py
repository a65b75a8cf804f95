import pytest
import torch

from weightspace.zoo.update import RULES, StackedUpdate

PEERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.05, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, 0.05, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
}


@pytest.mark.parametrize("name", sorted(RULES))
def test_each_row_follows_the_optimizer_of_pytorch(name):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    names = [*sorted(RULES), name]
    weights = start.repeat(len(names), 1)
    update = StackedUpdate(names, [0.05] * len(names), [0.1] * len(names), weights)
    peer = torch.nn.Parameter(start.clone())
    optimizer = PEERS[name]([peer])

    for step in range(1, 31):
        weights = update.propose(weights, weights**3 - 0.2, step)
        peer.grad = (peer**3 - 0.2).detach()
        optimizer.step()

    torch.testing.assert_close(weights[[-1]], peer.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(weights[sorted(RULES).index(name)], weights[-1])
    assert not torch.allclose(weights[0], weights[2])
