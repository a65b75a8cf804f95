"""Numbers by hand on small headers, and traps where claiming one unit more would be wrong."""

import pytest
import torch

from tests.architectures import ARCHITECTURES
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.graph.axes import Leaf, Prod, Span
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel


def header(**shapes):
    names = {name.replace("__", "."): shape for name, shape in shapes.items()}
    return Header({name: TensorInfo(name, "F32", shape) for name, shape in names.items()})


def flat(out):
    return [out] if torch.is_tensor(out) else [x for part in out if part is not None for x in flat(part)]


# Free units that the true network has, at the default sizes; the last column is the least share found.
FREE = {"mlp": 13, "lenet5": 56, "vgg_bn": 36, "resnet20": 400, "mobilenet": 40, "unet": 92, "dcgan_generator": 35}
FREE |= {"senet": 14, "lstm": 11, "bidirectional_gru": 29, "vit": 80, "gpt": 64, "llama": 58}
FREE |= {"transformer_encoder": 56, "multihead_attention": 27, "actor_critic": 26}


@pytest.mark.parametrize("listed", ["as written", "by alphabet"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_relabelling_by_the_inferred_graph_keeps_the_outputs(name, listed):
    architecture, g = ARCHITECTURES[name], torch.Generator().manual_seed(1)
    module = architecture.build(**architecture.sizes).double().eval()
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape, generator=g, dtype=torch.float64)
                value.copy_(noise + 0.5 if "var" in key else noise - 0.5)
    state = module.state_dict()
    shared = {"transformer.wte.weight": "lm_head.weight"} if name == "gpt" else {}
    names = [key for key in (state if listed == "as written" else sorted(state)) if key not in shared]
    checkpoint = Checkpoint({key: state[key].clone() for key in names}, shared=shared)
    graph = infer_graph(checkpoint)
    inputs = [x.double() if x.is_floating_point() else x for x in architecture.inputs(architecture.sizes)]
    with torch.no_grad():
        before = flat(module(*inputs))
        moved = dict(relabel(checkpoint, graph, random_permutations(graph, generator=g)).tensors)
        module.load_state_dict(moved | {alias: moved[kept] for alias, kept in shared.items()})
        after = flat(module(*inputs))
    for a, b in zip(before, after, strict=True):
        assert (a - b).abs().max() <= 1e-9 * a.abs().max()
    assert graph.free_units <= FREE[name]
    if listed == "as written":
        print(f"{name}: {graph.free_units} of {FREE[name]} free units found")
        assert graph.free_units >= (0.4 if name == "llama" else 0.8) * FREE[name]


def test_flatten_puts_channels_first_in_pytorch_and_last_in_keras():
    torch_graph = infer_graph(header(conv1__weight=(6, 3, 5, 5), conv1__bias=(6,), fc__weight=(4, 24), fc__bias=(4,)))
    assert torch_graph.blocks["fc.weight"].dims[1] == Prod((Leaf("conv1.out"), Span(4)))
    keras = {"conv2d/kernel": (5, 5, 3, 6), "conv2d/bias": (6,), "dense/kernel": (24, 4), "dense/bias": (4,)}
    keras_graph = infer_graph(Header({n: TensorInfo(n, "F32", s) for n, s in keras.items()}))
    assert keras_graph.blocks["dense/kernel"].dims[0] == Prod((Span(4), Leaf("conv2d.out")))


def test_ported_names_leave_the_flatten_unknown():
    graph = infer_graph(header(conv1__weight=(6, 3, 5, 5), conv1__bias=(6,), dense1__weight=(4, 24), dense1__bias=(4,)))
    axis = graph.axes[graph.blocks["conv1.weight"].dims[0].axis]
    assert axis.role == "fixed" and "flattened" in axis.reason


def test_equal_widths_under_plain_names_may_hide_a_skip_connection():
    shapes = {f"conv{n}__weight": (8, 1 if n == 0 else 8, 3, 3) for n in range(5)}
    graph = infer_graph(header(**shapes, output__weight=(3, 8), output__bias=(3,)))
    assert graph.free_units == 8


def test_a_concatenation_of_unequal_parts_is_fixed():
    graph = infer_graph(
        header(l1__weight=(9, 4), l1__bias=(9,), l2__weight=(6, 13), l2__bias=(6,), l3__weight=(2, 6), l3__bias=(2,))
    )
    assert "concatenation" in graph.axes[graph.blocks["l1.weight"].dims[0].axis].reason
    assert graph.free_units == 6


def test_every_float_of_a_stranger_lies_in_a_block_and_counts_as_opaque():
    graph = infer_graph(header(a__thing=(2, 3, 4, 5, 6, 7), b__other=(3, 3, 3, 3, 3, 3)))
    assert len(graph.blocks) == 2 and graph.understood == 0.0 and graph.free_units == 0
