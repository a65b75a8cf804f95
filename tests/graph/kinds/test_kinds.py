"""Each layout of each kind becomes the canonical `(out, in, *kernel)` and comes back bit for bit."""

import numpy as np
import pytest
import torch

from weightspace.checkpoint.header import TensorInfo
from weightspace.graph.axes import Leaf, Prod, Span, Sum
from weightspace.graph.kinds import read_layer
from weightspace.graph.kinds.layer import Group, Layout
from weightspace.graph.kinds.view import from_block, to_block


def group(path, **shapes):
    return Group(path, {role: TensorInfo(f"{path}.{role}", "F32", shape) for role, shape in shapes.items()})


def dims(layer):
    return {block.tensor.rsplit(".", 1)[-1]: block.dims for block in layer.blocks}


@pytest.mark.parametrize("shape, view, canonical", [((4, 3), "oi", (4, 3)), ((3, 4), "io", (4, 3))])
def test_the_bias_tells_how_a_linear_weight_is_stored(shape, view, canonical):
    layer = read_layer(group("fc", weight=shape, bias=(4,)), Layout())
    assert layer.blocks[0].view == view
    assert to_block(np.zeros(shape), layer.blocks[0]).shape == canonical


@pytest.mark.parametrize("shape, view", [((8, 3, 5, 7), "oikk"), ((5, 7, 3, 8), "kkio"), ((3, 8, 5, 7), "iokk")])
@pytest.mark.parametrize("make", [np.arange, torch.arange])
def test_convolutions_go_to_canonical_order_and_back(shape, view, make):
    layer = read_layer(group("c", weight=shape, bias=(8,)), Layout())
    stored = make(840).reshape(shape)
    canonical = to_block(stored, layer.blocks[0])
    assert layer.blocks[0].view == view and tuple(canonical.shape) == (8, 3, 5, 7)
    assert (from_block(canonical, layer.blocks[0], shape) == stored).all()


def test_gates_of_every_recurrent_layout_share_their_hidden_units():
    torch_lstm = read_layer(group("r", weight_ih=(20, 3), weight_hh=(20, 5), bias_ih=(20,), bias_hh=(20,)), Layout())
    hidden = Leaf("r.hidden")
    assert dims(torch_lstm)["weight_hh"] == (Prod((Span(4), hidden)), hidden)
    keras_gru = read_layer(group("r", weight=(3, 15), recurrent_weight=(5, 15), bias=(2, 15)), Layout())
    assert dims(keras_gru)["bias"] == (Span(2), Prod((Span(3), hidden)))
    cell = read_layer(group("lstm_cell", weight=(8, 20), bias=(20,)), Layout())
    inner = Leaf("lstm_cell.hidden")
    assert dims(cell)["weight"] == (Sum((Leaf("lstm_cell.in"), inner)), Prod((Span(4), inner)))


def test_a_table_of_distances_sits_on_the_heads():
    t5 = read_layer(group("attn.relative_attention_bias", weight=(32, 8)), Layout())
    levit = read_layer(group("attn.attention_biases", attention_biases=(8, 49)), Layout())
    assert dims(t5)["weight"] == (Span(32), Leaf("attn.relative_attention_bias.heads"))
    assert dims(levit)["attention_biases"] == (Leaf("attn.attention_biases.heads"), Span(49))


def test_what_no_kind_knows_is_opaque():
    layer = read_layer(group("x", thing=(2, 3, 4, 5, 6, 7)), Layout())
    assert layer.blocks[0].kind == "opaque" and set(layer.roles.values()) == {("fixed", "")}


@pytest.mark.parametrize(
    "shapes",
    [
        {"weight_ih_l0": (7, 3), "weight_hh_l0": (7, 5)},
        {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (9,)},
        {"in_proj_weight": (10, 3), "in_proj_bias": (9,)},
    ],
)
def test_names_that_promise_what_shapes_do_not_hold_are_opaque(shapes):
    layer = read_layer(group("m", **shapes), Layout())
    assert {block.kind for block in layer.blocks} == {"opaque"}
