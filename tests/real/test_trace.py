"""The graph traced from a rebuilt real network keeps its outputs, and bounds what names and shapes may claim."""

from dataclasses import replace

import pytest
import torch

from tests.real.module import RebuiltModule
from tests.real.table import PATHS, network_of, outputs, weights_of
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.trace import trace_graph

TRACED = {
    "mnist_lenet5": 6 + 16 + 120 + 84,
    "esrgan_slim_x2": 64 + 64 + 4 + 4 + 64 + 64 + 32 + 12,
    "eegnet_8_2": 8 + 8 * 2 + 16,
    "attacut_sc": 32 + 16 + 64 + 32,
    "gpt_by_hand": 16 + 2 * (2 + 16 + 16 + 64),
    "sb3_zoo/a2c_AntBulletEnv-v0": 4 * 64,
}


@pytest.mark.parametrize("name", [name for name in TRACED if name in PATHS])
def test_tracing_finds_the_whole_freedom_and_inference_no_more(name):
    """The number of free units is worked out by hand from the wiring; heads count, and their units."""
    network, checkpoint = network_of(name), load_checkpoint(PATHS[name])
    weights = weights_of(checkpoint)
    inputs = network.inputs(weights, torch.Generator().manual_seed(0))
    traced = trace_graph(RebuiltModule(network, weights), inputs)
    inferred = infer_graph(replace(checkpoint, metadata={}, source="memory"))
    print(f"{name}: {inferred.free_units} of {traced.free_units} free units found without running it")

    permutations = random_permutations(traced, generator=torch.Generator().manual_seed(1))
    relabelled = relabel(Checkpoint(weights), traced, permutations).tensors
    for before, after in zip(outputs(network, weights, inputs), outputs(network, relabelled, inputs), strict=True):
        assert (before - after).abs().max() < 1e-9 * before.abs().max()
    assert traced.free_units == TRACED[name]
    assert inferred.free_units <= traced.free_units
