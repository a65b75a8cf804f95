"""Small populations that nobody trained."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from benchmarks.encoder.drawn import describe_network, draw_networks
from weightspace.execute.stack import run_stacked

MLP = {"family": "mlp", "options": {"width": 4, "depth": 1, "activation": "relu"}}


def mean_output(group, gain):
    """A property of the function that weights show too: the mean output on a few inputs, from 0 to 1."""
    architecture = group.architecture
    x = torch.randn(32, *architecture.signature.inputs, generator=Generator().manual_seed(99))
    return torch.sigmoid(3 * run_stacked(architecture.module(), group.weights, x).mean((1, 2)) / gain).detach()


def drawn_splits(architectures):
    """Train, validation and test networks."""
    sizes = {"train": 128, "validation": 64, "test": 128}
    return {
        name: draw_networks(
            architectures, n // len(architectures), mean_output, generator=Generator().manual_seed(seed)
        )
        for seed, (name, n) in enumerate(sizes.items())
    }


def shuffled(networks, seed):
    """The same networks with targets that have nothing to do with them."""
    order = torch.randperm(len(networks), generator=Generator().manual_seed(seed))
    return replace(networks, target=networks.target[order])


@pytest.fixture(scope="session")
def mlps():
    return drawn_splits([describe_network(MLP, (1, 2, 3), 3)])


@pytest.fixture(scope="session")
def two_widths():
    options = [MLP["options"], MLP["options"] | {"width": 6, "activation": "sigmoid"}]
    return drawn_splits([describe_network(MLP | {"options": each}, (1, 2, 3), 3) for each in options])
