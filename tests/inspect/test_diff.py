"""Units are named for what became of them, whatever their order."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ArchitectureError
from weightspace.execute.module import from_module
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.inspect.diff import diff


@pytest.fixture
def net():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)
    )
    return from_module(module, (torch.zeros(2, 2, 6, 6),))


def shuffled(checkpoint, seed=1):
    graph = build_graph(checkpoint)
    return relabel(checkpoint, graph, random_permutations(graph, generator=torch.Generator().manual_seed(seed)))


def edited(checkpoint, **rows):
    """Set rows of tensors: `{"0_weight": {unit: values}}`."""
    tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    for name, values in rows.items():
        for unit, value in values.items():
            tensors[name.replace("_", ".")][unit] = value
    return replace(checkpoint, tensors=tensors)


def test_a_relabelling_changes_nothing_but_places(net):
    found = diff(net, shuffled(net))
    assert found.distance == 0 and found.changed == () and found.unaligned > 0.3
    assert found.relabelled > 0.5 and {unit.was != unit.unit for unit in found.units} == {True, False}
    assert found.behaviour.agreement == 1 and found.behaviour.distance < 1e-5
    assert all(block.change == 0 and not block.spectral for block in found.blocks)


def test_changed_units_are_named_by_number_before_and_after(net):
    g = torch.Generator().manual_seed(2)
    step = torch.randn(2, 3, 3, generator=g)
    weight = net.tensors["0.weight"]
    changed = edited(net, **{"0_weight": {5: weight[5] + 0.2 * step * weight[5].norm() / step.norm()}})
    changed = edited(changed, **{"2_weight": {3: torch.randn(8, 3, 3, generator=g) * 0.1}})
    found = diff(net, shuffled(changed))
    states = {(unit.axis, unit.was): unit.state for unit in found.changed}
    assert states == {("0.out", 5): "moved", ("2.out", 3): "new"}
    assert 0.1 < next(unit.change for unit in found.changed if unit.state == "moved") < 0.3
    assert {block.tensor for block in found.blocks if block.change} == {"0.weight", "2.weight"}


def test_dead_and_duplicated_units(net):
    weight, bias = net.tensors["0.weight"], net.tensors["0.bias"]
    dead = edited(net, **{"0_weight": {2: 0.0}, "0_bias": {2: 0.0}})
    assert [(u.unit, u.state) for u in diff(net, dead).changed] == [(2, "dead")]
    twins = edited(net, **{"0_weight": {2: weight[4]}, "0_bias": {2: bias[4]}})
    assert {(u.unit, u.state) for u in diff(net, twins).changed} == {(2, "duplicate"), (4, "duplicate")}
    assert diff(twins, twins).changed == ()


def test_the_wrong_order_is_not_taken_for_a_relabelling(net):
    """Only the writers are reordered: readers no longer fit, so units must be seen to have changed."""
    broken = replace(net, tensors={**net.tensors, "0.weight": net.tensors["0.weight"].roll(3, 0)})
    found = diff(net, broken)
    assert found.distance > 0.1 and found.changed and found.behaviour.distance > 0.01


def test_independent_networks_are_said_to_be_no_kin(net):
    torch.manual_seed(7)
    other = replace(net, tensors={n: torch.randn(t.shape) * t.std() for n, t in net.tensors.items()})
    assert "independent runs" in diff(net, other).verdict


def test_other_architectures_are_refused_in_a_sentence(net):
    other = Checkpoint({"0.weight": torch.zeros(3, 3)}, source="other.safetensors")
    with pytest.raises(ArchitectureError, match=r"different architectures.* is \(8, 2, 3, 3\) in one and \(3, 3\)"):
        diff(net, other)


def test_what_is_not_finite_is_refused(net):
    with pytest.raises(ArchitectureError, match="not finite"):
        diff(net, edited(net, **{"0_weight": {0: float("nan")}}))


def test_without_a_program_behaviour_is_not_known_and_says_why(net):
    bare = Checkpoint(dict(net.tensors), source="bare")
    assert diff(bare, net).behaviour.reason.startswith("bare does not say")
