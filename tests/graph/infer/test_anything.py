"""Whatever a file is called and whatever its shapes: nothing is refused, and every number lies in a block."""

from math import prod

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel

MODULES = ["", "fc", "0", "conv1", "bn1", "self_attn", "qkv", "q_proj", "k_proj", "v_proj", "out_proj", "layers.0.norm"]
MODULES += ["lstm", "embeddings", "downsample.0", "experts.1", "decoder.up", "lstm/gates", "dense_1"]
ROLES = ["weight", "bias", "running_mean", "running_var", "weight_ih_l0", "weight_hh_l0", "weight_hr_l0", "bias_hh_l0"]
ROLES += ["in_proj_weight", "in_proj_bias", "kernel:0", "recurrent_kernel", "scales", "pos_embed", "gamma", "A_log"]
ROLES += ["relative_attention_bias.weight", "weight_mu", "num_batches_tracked", "W", "R", "", "kernel", "\u00e9"]
NAMES = st.builds(lambda module, role: f"{module}.{role}".strip("."), st.sampled_from(MODULES), st.sampled_from(ROLES))
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 12]), max_size=5).map(tuple)
FILES = st.dictionaries(NAMES, SHAPES, min_size=1, max_size=12)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(FILES)
def test_nothing_is_refused_and_every_number_lies_in_a_block(shapes):
    graph = infer_graph(Header({name: TensorInfo(name, "F32", shape) for name, shape in shapes.items()}))

    assert set(graph.blocks) == set(shapes)
    for name, block in graph.blocks.items():
        assert tuple(map(graph.length, block.dims)) == shapes[name] or prod(shapes[name]) == block.size
    assert 0 <= graph.understood <= 1


@settings(max_examples=100, deadline=None, derandomize=True)
@given(FILES, st.integers(0, 9))
def test_every_relabelling_of_it_has_an_inverse(shapes, seed):
    g = torch.Generator().manual_seed(seed)
    checkpoint = Checkpoint({name: torch.randn(shape, generator=g) for name, shape in shapes.items()})
    graph = infer_graph(checkpoint)
    orders = random_permutations(graph, generator=g)
    tops = {name: order for name, order in orders.items() if order.ndim == 1}
    back = {name: order.argsort() for name, order in tops.items()}

    moved = relabel(checkpoint, graph, tops)
    again = relabel(moved, graph, back)

    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in checkpoint.tensors.items())
