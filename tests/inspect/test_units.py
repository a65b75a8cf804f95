"""Dead and duplicate units are found exactly, in every layout, and none where there are none."""

import numpy as np
import pytest
import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.build import build_graph
from weightspace.inspect.units import find_units


def perceptron(seed=0, hidden=12, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    shapes = {"0.weight": (hidden, 7), "0.bias": (hidden,), "2.weight": (4, hidden), "2.bias": (4,)}
    return {name: torch.randn(*shape, generator=g).to(dtype) for name, shape in shapes.items()}


def convolutional(seed=0):
    """The channels of the convolution reach the linear layer flattened, 4 positions each."""
    g = torch.Generator().manual_seed(seed)
    shapes = {"0.weight": (6, 2, 3, 3), "0.bias": (6,), "3.weight": (5, 24), "3.bias": (5,)}
    return {name: torch.randn(*shape, generator=g) for name, shape in shapes.items()}


def units(tensors):
    checkpoint = Checkpoint(tensors)
    (found,) = find_units(checkpoint, build_graph(checkpoint))
    return found


@pytest.mark.parametrize("make", [perceptron, convolutional])
@pytest.mark.parametrize("seed", range(3))
def test_random_networks_have_none(make, seed):
    found = units(make(seed))
    assert found.dead == found.spare == 0 and found.units == (12 if make is perceptron else 6)


def test_silent_and_unread_units_are_named():
    tensors = perceptron()
    tensors["0.weight"][[2, 5]] = 0  # their bias stays: they say a constant
    tensors["2.weight"][:, [5, 9]] = 0
    found = units(tensors)
    assert (found.silent, found.unread, found.dead) == ((2, 5), (5, 9), 3)


def test_a_channel_is_unread_only_if_all_its_positions_are():
    tensors = convolutional()
    tensors["3.weight"][:, 4:8] = 0  # all of channel 1
    tensors["3.weight"][:, 8:11] = 0  # three of the four positions of channel 2
    assert units(tensors).unread == (1,)


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_units_equal_up_to_a_factor_are_one_group(factor):
    tensors = perceptron()
    for copy, unit in ((4, 1), (11, 1), (8, 3)):
        tensors["0.weight"][copy] = factor * tensors["0.weight"][unit]
        tensors["0.bias"][copy] = factor * tensors["0.bias"][unit]
    found = units(tensors)
    assert found.duplicates == ((1, 4, 11), (3, 8)) or found.duplicates == ((3, 8), (1, 4, 11))
    assert found.spare == 3


@pytest.mark.parametrize("change", ["negative", "bias", "one weight"])
def test_what_differs_is_no_duplicate(change):
    tensors = perceptron()
    sign = -1.0 if change == "negative" else 1.0
    tensors["0.weight"][4] = sign * tensors["0.weight"][1]
    tensors["0.bias"][4] = sign * tensors["0.bias"][1]
    if change == "bias":
        tensors["0.bias"][4] += 0.5
    if change == "one weight":
        tensors["0.weight"][4, 6] += 0.01
    assert units(tensors).spare == 0


def test_relabelling_relabels_the_findings():
    tensors, order = perceptron(), torch.randperm(12, generator=torch.Generator().manual_seed(1))
    tensors["0.weight"][3] = 0
    tensors["2.weight"][:, 7] = 0
    tensors["0.weight"][6], tensors["0.bias"][6] = tensors["0.weight"][1], tensors["0.bias"][1]
    moved = {
        "0.weight": tensors["0.weight"][order],
        "0.bias": tensors["0.bias"][order],
        "2.weight": tensors["2.weight"][:, order],
        "2.bias": tensors["2.bias"],
    }
    before, after, where = units(tensors), units(moved), order.argsort().tolist()
    assert after.silent == (where[3],) and after.unread == (where[7],)
    assert after.duplicates == (tuple(sorted((where[1], where[6]))),)
    assert before.duplicates == ((1, 6),)


def test_many_equal_units_are_one_group():
    tensors = perceptron(hidden=3000)
    tensors["0.weight"][1000:] = tensors["0.weight"][0]
    tensors["0.bias"][1000:] = tensors["0.bias"][0]
    (group,) = units(tensors).duplicates
    assert group == (0, *range(1000, 3000))


def test_numbers_that_are_none_do_not_spread():
    tensors = perceptron()
    tensors["0.weight"][0, 0] = torch.nan
    tensors["0.weight"][2] = 0
    found = units(tensors)
    assert found.silent == (2,) and found.spare == 0


def test_half_precision_and_tiles_change_nothing(monkeypatch):
    tensors = perceptron(hidden=40, dtype=torch.float16)
    tensors["0.weight"][9], tensors["0.bias"][9] = tensors["0.weight"][2], tensors["0.bias"][2]
    whole = units(tensors)
    monkeypatch.setattr("weightspace.inspect.units.TILE", 30)
    assert units(tensors) == whole and whole.duplicates == ((2, 9),)
    assert np.isfinite(whole.spare)
