"""The rebuilt networks are whole: finite, alive, and every weight of the file matters."""

import pytest
import torch

from tests.real.table import ALL_SHARED, GROUPS, NETWORKS, PATHS, network_of, outputs, weights_of
from weightspace.checkpoint.load import load_checkpoint

REBUILT = [name for name in PATHS if network_of(name)]


def run(name):
    network, weights = network_of(name), weights_of(load_checkpoint(PATHS[name]))
    weights = {key: tensor.requires_grad_() for key, tensor in weights.items()}
    inputs = network.inputs(weights, torch.Generator().manual_seed(0))
    return network, weights, outputs(network, weights, inputs)


@pytest.mark.parametrize("name", REBUILT)
def test_every_weight_matters_and_the_outputs_are_alive(name):
    network, weights, found = run(name)
    g = torch.Generator().manual_seed(1)
    score = sum((out * torch.randn(out.shape, generator=g, dtype=out.dtype)).sum() for out in found)
    slopes = torch.autograd.grad(score, list(weights.values()), allow_unused=True)

    assert all(out.isfinite().all() for out in found)
    assert all(out.numel() == 1 or out.std() > 1e-9 * out.abs().max() for out in found)
    tiny = 1e-9 * max(out.abs().max() for out in found)
    idle = {key for key, slope in zip(weights, slopes, strict=True) if slope is None or slope.abs().max() < tiny}
    assert idle == {key for key in weights if network.is_unused(key)}


@pytest.mark.skipif(
    not ALL_SHARED, reason="the real checkpoints (shared/data/checkpoints) are not beside this checkout"
)
def test_most_of_the_real_checkpoints_are_rebuilt():
    groups = {GROUPS[name] for name in REBUILT}
    print(f"rebuilt: {len(REBUILT)} of {len(PATHS)} checkpoints, {len(groups)} of {len(set(GROUPS.values()))} groups")
    assert len(REBUILT) >= 60 and len(groups) >= 25


def test_no_network_is_written_down_twice_for_one_checkpoint():
    assert all(sum(network.fits(name) for network in NETWORKS) <= 1 for name in PATHS)
