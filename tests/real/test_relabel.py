"""Relabelling by the graph inferred from the file alone keeps what real networks compute."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from tests.real.table import ALL_SHARED, GROUPS, PATHS, network_of, outputs, weights_of
from weightspace.checkpoint.load import load_checkpoint
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import places, relabel, relabel_only

REBUILT = [name for name in PATHS if network_of(name)]
TOLERANCE, TIES = 1e-9, 2
ONE_OF_EACH_GROUP = {GROUPS[name]: name for name in reversed(REBUILT)}.values()


@cache
def graph_of(name):
    """The graph inferred from names and shapes alone: neither metadata nor path is shown."""
    return infer_graph(replace(load_checkpoint(PATHS[name]), metadata={}, source="memory"))


def run(network, checkpoint):
    """Outputs in float64 on fixed inputs."""
    weights = weights_of(checkpoint)
    with torch.no_grad():
        return outputs(network, weights, network.inputs(weights, torch.Generator().manual_seed(0)))


def difference(one, other):
    """Largest absolute difference of any output, relative to that output's largest value."""
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in zip(one, other, strict=True))


def moved(one, other):
    return [name for name, tensor in one.tensors.items() if not torch.equal(tensor, other.tensors[name])]


@pytest.mark.parametrize("name", REBUILT)
def test_relabelling_keeps_the_outputs(name):
    network, checkpoint, graph = network_of(name), load_checkpoint(PATHS[name]), graph_of(name)
    permutations = random_permutations(graph, generator=torch.Generator().manual_seed(1))
    relabelled = relabel(checkpoint, graph, permutations)

    print(f"{name}: {graph.free_units} of {graph.units} units free, {graph.understood:.3f} of the weights understood")
    error = difference(run(network, checkpoint), run(network, relabelled))
    assert error < TOLERANCE
    assert bool(moved(checkpoint, relabelled)) == (graph.free_units > 0)


@pytest.mark.parametrize("name", ONE_OF_EACH_GROUP)
def test_breaking_one_tie_changes_the_outputs(name):
    """The check above can fail: one dimension of one tensor moves, the rest of its axis stays."""
    network, checkpoint, graph = network_of(name), load_checkpoint(PATHS[name]), graph_of(name)
    g = torch.Generator().manual_seed(2)
    orders = random_permutations(graph, generator=g)
    ties = [(axis, place) for axis in orders for place in places(graph, axis) if not network.is_unused(place[0])]
    if not ties:
        pytest.skip("no unit of this network is free")

    before = run(network, checkpoint)
    for i in torch.randperm(len(ties), generator=g)[:TIES].tolist():
        axis, place = ties[i]
        torn = relabel_only(checkpoint, graph, {axis: orders[axis]}, [place])
        error = difference(before, run(network, torn))
        assert error > TOLERANCE or not moved(checkpoint, torn), ties[i]


@pytest.mark.skipif(
    not ALL_SHARED, reason="the real checkpoints (shared/data/checkpoints) are not beside this checkout"
)
def test_most_real_networks_have_free_units():
    free = {name for name in REBUILT if graph_of(name).free_units}
    groups = {GROUPS[name] for name in free}
    print(f"free units in {len(free)} of {len(REBUILT)} rebuilt checkpoints, {len(groups)} groups")
    assert len(free) >= 140 and len(groups) >= 38
