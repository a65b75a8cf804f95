"""Parameter graphs written by hand, one for each way in which blocks meet axes, with random weights."""

from __future__ import annotations

from math import prod

import torch
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod, Span, Stage, Sum, Term

Blocks = dict[str, tuple[str, str, tuple[Term, ...]]]


def make(axes: list[Axis], blocks: Blocks) -> ParameterGraph:
    """One stage a block, in the order given."""
    named = {axis.name: axis for axis in axes}
    empty = ParameterGraph(named, {}, (), "infer")
    made = {
        name: Block(name, kind, dims, view, prod(map(empty.length, dims)))
        for name, (kind, view, dims) in blocks.items()
    }
    return ParameterGraph(named, made, tuple(Stage(name, made[name].kind, (name,)) for name in made), "infer")


def weights(graph: ParameterGraph, seed: int = 0) -> Checkpoint:
    """Normal float64 weights."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: [graph.length(dim) for dim in block.dims] for name, block in graph.blocks.items()}
    return Checkpoint({n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()})


def mlp(*sizes: int) -> ParameterGraph:
    """Linear layers with biases."""
    roles = ["input", *["hidden"] * (len(sizes) - 2), "output"]
    axes = [Axis(f"a{i}", size, role) for i, (size, role) in enumerate(zip(sizes, roles, strict=True))]
    blocks: Blocks = {}
    for i in range(1, len(sizes)):
        blocks[f"{i}.weight"] = ("linear", "oi", (Leaf(f"a{i}"), Leaf(f"a{i - 1}")))
        blocks[f"{i}.bias"] = ("bias", "o", (Leaf(f"a{i}"),))
    return make(axes, blocks)


def residual_cnn() -> ParameterGraph:
    """Residual convolutions with batch norm; channels last in one; a head over flattened pixels."""
    c, m, x = Leaf("c"), Leaf("m"), Leaf("x")
    norm = {f"bn.{n}": (f"norm {n}", "o", (c,)) for n in ("scale", "shift", "mean")}
    return make(
        [Axis("x", 3, "input"), Axis("c", 6, "hidden"), Axis("m", 5, "hidden"), Axis("y", 4, "output")],
        {"stem": ("conv", "oikk", (c, x, Span(3), Span(3))), **norm}
        | {"up": ("conv", "kkio", (Span(1), Span(1), c, m)), "prelu": ("slope", "o", (m,))}
        | {"depthwise": ("conv", "oikk", (m, Span(1), Span(5), Span(5))), "down": ("conv", "oik", (c, m, Span(3)))}
        | {"head": ("linear", "oi", (Leaf("y"), Prod((c, Span(4))))), "scalar": ("scale", "k", (Span(1),))},
    )


def grouped() -> ParameterGraph:
    """Grouped convolution and a grouped transposed one: the units of each group pair up."""
    g, a, b, c = (Leaf(name) for name in "gabc")
    return make(
        [Axis("x", 3, "input"), Axis("g", 3, "hidden"), Axis("y", 2, "output")]
        + [Axis(name, size, "hidden", parent="g") for name, size in (("a", 2), ("b", 4), ("c", 3))],
        {"stem": ("linear", "oi", (Prod((g, a)), Leaf("x"))), "norm": ("norm scale", "o", (Prod((g, a)),))}
        | {"grouped": ("conv", "oik", (Prod((g, b)), a, Span(3)))}
        | {"transposed": ("transposed conv", "iok", (Prod((g, b)), c, Span(2)))}
        | {"shared": ("norm scale", "o", (g,)), "head": ("linear", "oi", (Leaf("y"), Prod((g, c))))},
    )


def recurrent() -> ParameterGraph:
    """One LSTM: four gates over the same units, and a concatenation of its units and the input."""
    h, x = Leaf("h"), Leaf("x")
    gates = Sum((h,) * 4)
    return make(
        [Axis("x", 3, "input"), Axis("h", 5, "hidden"), Axis("y", 2, "output")],
        {"ih": ("recurrent", "oi", (gates, x)), "hh": ("recurrent", "oi", (gates, h)), "b": ("bias", "o", (gates,))}
        | {"padded": ("linear", "oi", (Sum((h, Span(2))), h))}
        | {"head": ("linear", "oi", (Leaf("y"), Sum((x, h, Span(1)))))},
    )


def attention() -> ParameterGraph:
    """Embedding, fused queries, keys and values in heads, output projection, an axis that is fixed."""
    d, n = Leaf("d"), Leaf("heads")
    qk, vo = Prod((n, Leaf("qk"))), Prod((n, Leaf("vo")))
    return make(
        [
            Axis("words", 7, "input"),
            Axis("places", 4, "fixed", "positions"),
            Axis("d", 6, "hidden"),
            Axis("heads", 2, "hidden"),
            Axis("qk", 3, "hidden", parent="heads"),
            Axis("vo", 4, "hidden", parent="heads"),
        ],
        {"wte": ("embedding", "io", (Leaf("words"), d)), "wpe": ("position embedding", "io", (Leaf("places"), d))}
        | {"qkv": ("attention", "oi", (Sum((qk, qk, vo)), d)), "qkv.bias": ("bias", "o", (Sum((qk, qk, vo)),))}
        | {
            "bias table": ("bias", "ok", (n, Span(5))),
            "out": ("linear", "oi", (d, vo)),
            "ln": ("norm scale", "o", (d,)),
        },
    )


GRAPHS = {"mlp": mlp(3, 8, 6, 4), "residual cnn": residual_cnn(), "grouped": grouped()} | {
    "recurrent": recurrent(),
    "attention": attention(),
}


def perceptron(*sizes: int, seed: int = 0) -> dict[str, Tensor]:
    generator = Generator().manual_seed(seed)
    tensors = {}
    for i in range(1, len(sizes)):
        tensors[f"{i}.weight"] = torch.randn(sizes[i], sizes[i - 1], generator=generator) / sizes[i - 1] ** 0.5
        tensors[f"{i}.bias"] = torch.randn(sizes[i], generator=generator)
    return tensors
