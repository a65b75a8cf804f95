"""What the speed benchmark times is the encoder itself, held to the bars as they are written."""

from argparse import Namespace

import pytest
import torch
from torch import Generator

from benchmarks.encoder.drawn import SMALL_CNN, describe_network, draw_networks
from benchmarks.encoder.speed import hold_to_bars, make_module
from benchmarks.encoder.sweep_peer import SweepNet
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.trace import trace_graph


@pytest.mark.parametrize("run", [False, True])
def test_our_subject_is_an_encoder(run):
    networks = draw_networks([describe_network(SMALL_CNN)], 3, generator=Generator().manual_seed(0))
    module, batch = SweepNet(networks, 1, run=run).eval(), next(networks.batches(3))
    graph = trace_graph(batch.groups[0].architecture.module(), (torch.zeros(2, 1, 32, 32),))
    permutations = random_permutations(graph, generator=Generator().manual_seed(1))
    with torch.no_grad():
        before = module(batch)
        for flat, vector in zip(batch.groups[0].flat, before, strict=True):
            group = batch.groups[0]
            tensors = {name: t[0] for name, t in group.architecture.layout.view(flat[None]).items()}
            other = relabel(Checkpoint(tensors), graph, permutations)
            flat.copy_(torch.cat([other.tensors[name].flatten() for name in tensors]))
            assert vector.isfinite().all()
        after = module(batch)
    assert (before[0] - before[1]).norm() > 1e-2 * before.norm()
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_a_row_is_held_to_its_bars():
    first = {"times_first": 1.0, "peak_megabytes": 90.0}
    row = {"times_first": 2.0, "peak_megabytes": 15.0}
    found = hold_to_bars("encoder", "forward", row, first)
    assert found == pytest.approx({"memory_of_first": 1 / 6, "speed_to_bar": 0.5, "memory_to_bar": 2.0})
    assert set(hold_to_bars("encoder+probes", "training", row, first)) == {"memory_of_first", "speed_to_bar"}
    assert set(hold_to_bars("graph", "training", row, first)) == {"memory_of_first"}


def test_a_subject_is_made_by_its_name():
    module, batch = make_module("encoder", 2, Namespace(width=8, device="cpu", probes=6))
    assert isinstance(module, SweepNet) and module(batch).shape == (2, 256)
