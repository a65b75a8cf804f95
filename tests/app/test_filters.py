"""Pictures of the first layer: which numbers stand where."""

import base64

import numpy as np
import pytest
import torch
from torch import nn

from weightspace.app.filters import MOST, first_filters
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ExplorerError
from weightspace.execute.module import from_module
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.relabel import relabel


def of(module, *shape, inputs=None):
    """Filters of a module that takes inputs of a shape, and its checkpoint."""
    torch.manual_seed(0)
    checkpoint = from_module(module.eval(), (torch.zeros(2, *shape),))
    return first_filters(checkpoint.tensors, build_graph(checkpoint), inputs or shape), checkpoint


def convolution(channels, taps=3, units=4):
    return nn.Sequential(nn.Conv2d(channels, units, taps), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


def ready(module, *shape):
    module(torch.zeros(1, *shape))
    return module


def test_taps_of_one_channel_are_grey_and_to_scale():
    module = ready(convolution(1), 1, 6, 6)
    found, _ = of(module, 1, 6, 6)
    weight = module[0].weight.detach().numpy()[:, 0]
    assert (found.kind, found.tensor, found.units) == ("grey", "0.weight", 4)
    assert found.largest == pytest.approx(np.abs(weight).max())
    np.testing.assert_array_equal(found.pixels, np.round(127 * weight / found.largest).astype(np.int8))


def test_three_channels_are_colours_and_others_a_mean():
    module = ready(convolution(3), 3, 6, 6)
    found, _ = of(module, 3, 6, 6)
    assert found.kind == "colour" and found.pixels.shape == (4, 3, 3, 3)
    want = np.round(127 * module[0].weight.detach().numpy().transpose(0, 2, 3, 1) / found.largest)
    np.testing.assert_array_equal(found.pixels, want.astype(np.int8))
    module = ready(convolution(5), 5, 6, 6)
    found, _ = of(module, 5, 6, 6)
    assert (found.kind, found.averaged) == ("grey", 5)
    assert found.largest == pytest.approx(np.abs(module[0].weight.detach().numpy().mean(1)).max())


def test_a_layer_over_flattened_pictures_is_shown_as_pictures():
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    found, _ = of(module, 3, 4, 4)
    assert found.kind == "colour" and found.pixels.shape == (5, 4, 4, 3)
    value = module[1].weight.detach().numpy()[2].reshape(3, 4, 4)[1, 2, 3]
    assert found.pixels[2, 2, 3, 1] == np.round(127 * value / found.largest)


def test_what_is_no_picture_is_one_matrix():
    found, _ = of(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)), 7)
    assert found.kind == "matrix" and found.pixels.shape == (1, 5, 7)
    tall, _ = of(nn.Sequential(nn.Linear(3, 50), nn.ReLU(), nn.Linear(50, 2)), 3)
    assert tall.pixels.shape == (1, 3, 50), "the longer side lies across"


def test_relabelled_units_bring_their_pictures_along():
    found, checkpoint = of(ready(convolution(1), 1, 6, 6), 1, 6, 6)
    graph = build_graph(checkpoint)
    (axis,) = (a.name for a in graph.axes.values() if a.role == "hidden" and a.size == 4)
    order = torch.tensor([2, 0, 3, 1])
    moved = relabel(checkpoint, graph, {axis: order})
    again = first_filters(moved.tensors, graph, (1, 6, 6))
    np.testing.assert_array_equal(again.pixels, found.pixels[order.numpy()])
    assert not np.array_equal(again.pixels, found.pixels)


def test_only_some_of_many_are_shown_and_said():
    found, _ = of(ready(convolution(1, units=70), 1, 6, 6), 1, 6, 6)
    told = found.as_dict()
    assert (told["units"], told["shown"]) == (70, MOST)
    assert len(base64.b64decode(told["pixels"])) == MOST * told["height"] * told["width"]


def test_weights_that_are_not_finite_have_no_picture():
    _, checkpoint = of(ready(convolution(1), 1, 6, 6), 1, 6, 6)
    broken = {**checkpoint.tensors, "0.weight": torch.full((4, 1, 3, 3), float("nan"))}
    with pytest.raises(ExplorerError, match=r"'0\.weight', the first layer, holds NaN"):
        first_filters(broken, build_graph(checkpoint))


def test_a_network_whose_inputs_nobody_reads_is_named():
    lone = Checkpoint({"scale": torch.ones(3)})
    with pytest.raises(ExplorerError, match="no layer is known to read the inputs"):
        first_filters(lone.tensors, build_graph(lone))
