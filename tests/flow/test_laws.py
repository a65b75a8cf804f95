"""Laws of the traced graph on sixteen architectures, in float64 at 1e-9; how many units are free is worked by hand."""

import io
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.architectures import ARCHITECTURES
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.graph.check import check_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.trace import trace_graph

# Free units, and all units, by hand. Residual streams count once; a head counts its own label and those of its
# query-key and value-output units; inputs, outputs, words and positions are units that are not free.
FREE = {
    "mlp": lambda s: s["hidden1"] + s["hidden2"],
    "lenet5": lambda s: s["maps1"] + s["maps2"] + s["hidden1"] + s["hidden2"],
    "vgg_bn": lambda s: s["width1"] + s["width2"] + s["width3"] + s["hidden"],
    # stream: the last stage's 4w channels hold those of the earlier ones; inside each block w, 2w or 4w
    "resnet20": lambda s: 4 * s["width"] + s["blocks"] * (1 + 2 + 4) * s["width"],
    "mobilenet": lambda s: s["stem"] * (1 + s["expand"]) + s["width"] * (1 + s["expand"]) + s["head"],
    # two convolutions at w, 2w, 4w going down; (2w, 2w, 2w) and (w, w, w) going up
    "unet": lambda s: (2 + 4 + 8 + 6 + 3) * s["width"],
    "dcgan_generator": lambda s: (4 + 2 + 1) * s["ngf"],
    "senet": lambda s: s["channels"] + s["depth"] * s["squeezed"],
    "lstm": lambda s: s["embed"] + s["layers"] * s["hidden"],
    "bidirectional_gru": lambda s: s["embed"] + 4 * s["hidden"],
    "vit": lambda s: s["dim"] + s["depth"] * (s["heads"] * (1 + 2 * s["head_dim"]) + s["hidden"]),
    "gpt": lambda s: s["heads"] * s["head_dim"] + s["depth"] * (s["heads"] * (1 + 2 * s["head_dim"]) + s["hidden"]),
    # rotary fixes query-key units; value-output units live in key-value heads
    "llama": lambda s: s["width"] + s["depth"] * (s["kv_heads"] * (1 + s["groups"] + s["head_dim"]) + s["hidden"]),
    # the residual stream is the module's own input and output
    "transformer_encoder": lambda s: s["depth"] * (s["heads"] * (1 + 2 * s["head_dim"]) + s["hidden"]),
    "multihead_attention": lambda s: s["heads"] * (1 + 2 * s["head_dim"]),
    "actor_critic": lambda s: 2 * s["actor"] + 2 * s["critic"],
}
BOUND = {
    "mlp": lambda s: s["fan_in"] + s["classes"],
    "lenet5": lambda s: 1 + s["classes"],
    "vgg_bn": lambda s: 3 + s["classes"],
    "resnet20": lambda s: 3 + s["classes"],
    "mobilenet": lambda s: 3 + s["classes"],
    "unet": lambda s: 3 + s["classes"],
    "dcgan_generator": lambda s: s["nz"] + s["nc"],
    "senet": lambda s: 3 + s["classes"],
    "lstm": lambda s: s["vocab"] + s["classes"],
    "bidirectional_gru": lambda s: s["vocab"] + s["classes"],
    "vit": lambda s: 3 + s["classes"],
    "gpt": lambda s: s["vocab"] + s["context"],  # words in and out are tied
    "llama": lambda s: 2 * s["vocab"] + s["depth"] * s["head_dim"] // 2,  # one fixed unit a rotary pair
    "transformer_encoder": lambda s: s["heads"] * s["head_dim"],
    "multihead_attention": lambda s: 2 * s["heads"] * s["head_dim"],
    "actor_critic": lambda s: s["observations"] + 2 * s["actions"] + 1,  # means, deviations and the value
}
NAMES = list(ARCHITECTURES)


@cache
def traced(name, drawn):
    """Each drawn shape is exported once, and all laws are tried on it."""
    architecture = ARCHITECTURES[name]
    sizes = architecture.sizes | dict(drawn)
    torch.manual_seed(0)
    module = architecture.build(**sizes)
    args = architecture.inputs(sizes)
    return sizes, module, args, trace_graph(module, args)


def drawn_sizes(name):
    draws = ARCHITECTURES[name].draws
    return st.fixed_dictionaries({key: st.sampled_from(values) for key, values in draws.items()})


@pytest.mark.parametrize("name", NAMES)
def test_every_hidden_axis_is_free_and_every_mutant_is_caught(name):
    @settings(max_examples=2, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(drawn_sizes(name))
    def law(drawn):
        sizes, module, args, graph = traced(name, tuple(drawn.items()))
        verdict = check_graph(graph, module, args)
        free = {axis.name for axis in graph.axes.values() if axis.role == "hidden" and axis.size > 1}

        assert verdict.passed, str(verdict)
        assert {axis.axis for axis in verdict.axes} == free
        assert not verdict.unnoticed, str(verdict)
        assert graph.free_units == FREE[name](sizes)
        assert graph.units == FREE[name](sizes) + BOUND[name](sizes)
        assert graph.understood == 1
        print(f"{name} {drawn}: {graph.free_units} of {graph.units} units free")

    law()


@pytest.mark.parametrize("name", NAMES)
def test_relabelling_back_restores_every_bit(name):
    architecture = ARCHITECTURES[name]
    smallest = tuple((key, min(values)) for key, values in architecture.draws.items())
    _, module, _, graph = traced(name, smallest)
    g = torch.Generator().manual_seed(1)
    tensors = {
        k: torch.randn(v.shape, generator=g)
        for k, v in module.state_dict().items()
        if k not in graph.shared and v.is_floating_point()
    }
    before = Checkpoint(tensors)
    orders = random_permutations(graph, generator=g)

    there = relabel(before, graph, orders)
    back = relabel(there, graph, {axis: inverse(graph, orders, axis) for axis in orders})

    assert all(torch.equal(back.tensors[k], v) for k, v in tensors.items())
    assert set(graph.blocks) == set(tensors)
    moved = {k for k in tensors if not torch.equal(there.tensors[k], tensors[k])}
    assert moved == {b.tensor for b in graph.blocks.values() if set(b.axes) & orders.keys()}


def inverse(graph, orders, axis):
    """Order that undoes a relabelling, within the relabelled parents."""
    above = [parent for parent in graph.lineage(axis)[:-1]]
    found = np.empty(orders[axis].shape, np.int64)
    for new in np.ndindex(found.shape[:-1]):
        old = tuple(inverse(graph, orders, p)[new[: i + 1]] for i, p in enumerate(above))
        found[new] = np.argsort(orders[axis][old].numpy())
    return found


def test_tying_by_equal_sizes_would_be_caught():
    """A graph that ties nothing beyond one layer must fail the check."""
    _, module, args, graph = traced("mlp", (("hidden1", 3), ("hidden2", 3)))
    swapped = {"0.out": "2.out", "2.out": "0.out"}
    blocks = dict(graph.blocks)
    bias = blocks["0.bias"]
    blocks["0.bias"] = type(bias)("0.bias", "bias", tuple(type(d)(swapped[d.axis]) for d in bias.dims), "o", bias.size)
    wrong = type(graph)(graph.axes, blocks, graph.stages, "trace")

    verdict = check_graph(wrong, module, args)

    assert not verdict.passed
    assert "FAILED" in str(verdict) and "changes the outputs" in str(verdict)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(folder, count):
    image = pytest.importorskip("PIL.Image", reason="Pillow reads the JPEG files")
    held = np.load(folder / "cifar10_jpeg.npz")
    edges, raw = held["offset_test"], held["jpeg_test"].tobytes()
    rows = [np.asarray(image.open(io.BytesIO(raw[edges[i] : edges[i + 1]])).convert("RGB")) for i in range(count)]
    x = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).double() / 255
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return x, torch.from_numpy(held["y_test"][:count].astype(np.int64))


@pytest.mark.slow
@pytest.mark.parametrize("depth,published", [(20, 0.810), (32, 0.826), (56, None)])
def test_real_resnets_answer_every_image_alike(depth, published, shared_checkpoints, shared_datasets):
    build = ARCHITECTURES["resnet20"].build
    checkpoint = load_checkpoint(shared_checkpoints / f"cifar10_resnet{depth}.safetensors")
    module = build(blocks=(depth - 2) // 6)
    module.load_state_dict(dict(checkpoint.tensors), strict=False)
    graph = trace_graph(module, (torch.zeros(2, 3, 32, 32),))
    module = module.eval()
    g = torch.Generator().manual_seed(depth)
    orders = random_permutations(graph, generator=g)
    x, labels = pictures(shared_datasets, 10_000)

    before = answers(module, x)
    module.load_state_dict(dict(relabel(checkpoint, graph, orders).tensors), strict=False)
    after = answers(module, x)

    assert graph.free_units == 64 + (depth - 2) // 6 * 7 * 16
    assert torch.equal(before, after)
    accuracy = float((before == labels).double().mean())
    print(f"resnet{depth}: accuracy {accuracy:.4f} before and after")
    assert published is None or abs(accuracy - published) < 0.002


def answers(module, x):
    module = module.float()
    with torch.no_grad():
        return torch.cat([module(part.float()).argmax(1) for part in x.split(500)])
