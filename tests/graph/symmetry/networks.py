"""Small float64 networks with graphs written by hand, every weight and statistic random."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod, Span, Stage, Sum, Term

KINDS = {
    "weight": "norm scale",
    "bias": "norm shift",
    "running_mean": "running mean",
    "running_var": "running variance",
}


@dataclass(frozen=True)
class Case:
    module: nn.Module
    graph: ParameterGraph
    x: Tensor

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint({name: tensor.clone() for name, tensor in self.module.state_dict().items()})

    def run(self, checkpoint: Checkpoint) -> Tensor:
        with torch.no_grad():
            return torch.func.functional_call(self.module, dict(checkpoint.tensors), (self.x,))

    def error(self, checkpoint: Checkpoint) -> float:
        """Largest difference of the outputs, relative to the largest output."""
        before = self.run(self.checkpoint)
        return float((self.run(checkpoint) - before).abs().max() / before.abs().max())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    g = seeded(seed)
    for name, tensor in module.double().eval().state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=g, dtype=torch.float64) * 0.7)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.3)
    return module


def block(module: nn.Module, tensor: str, kind: str, dims: tuple[Term, ...], view: str) -> Block:
    return Block(tensor, kind, dims, view, module.state_dict()[tensor].numel())


def layer(module: nn.Module, path: str, kind: str, dims: tuple[Term, ...], *, bias: bool = True) -> list[Block]:
    view = "oi" + "k" * (len(dims) - 2)
    blocks = [block(module, f"{path}.weight", kind, dims, view)]
    return blocks + ([block(module, f"{path}.bias", "bias", dims[:1], "o")] if bias else [])


def norm(module: nn.Module, path: str, term: Term) -> list[Block]:
    return [block(module, f"{path}.{name}", kind, (term,), "o") for name, kind in KINDS.items()]


def graph_of(axes: list[Axis], blocks: list[list[Block]], stages: tuple[Stage, ...]) -> ParameterGraph:
    return ParameterGraph({a.name: a for a in axes}, {b.tensor: b for bs in blocks for b in bs}, stages, "trace")


def mlp(activation: nn.Module | None = None, after: tuple[str, ...] = ("relu",), widths=(3, 7, 5, 2)) -> Case:
    act = activation or nn.ReLU()
    module = randomised(
        nn.Sequential(
            nn.Linear(widths[0], widths[1]),
            act,
            nn.Linear(widths[1], widths[2]),
            act,
            nn.Linear(widths[2], widths[3]),
        )
    )
    names, roles = ("x", "h1", "h2", "y"), ("input", "hidden", "hidden", "output")
    axes = [Axis(n, size, role) for n, size, role in zip(names, widths, roles, strict=True)]
    blocks = [layer(module, str(2 * i), "linear", (Leaf(names[i + 1]), Leaf(names[i]))) for i in range(3)]
    stages = tuple(
        Stage(str(2 * i), "linear", (f"{2 * i}.weight", f"{2 * i}.bias"), after if i < 2 else ()) for i in range(3)
    )
    return Case(module, graph_of(axes, blocks, stages), torch.randn(9, widths[0], generator=seeded(1)).double())


class Residual(nn.Module):
    """Convolutions with batch norm, a residual addition and a flatten."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv1, self.norm1 = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        h = F.relu(self.norm0(self.stem(x)))
        h = F.relu(h + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(h))))))
        return self.head(F.max_pool2d(h, 2).flatten(1))


def residual() -> Case:
    module = randomised(Residual())
    axes = [Axis("x", 2, "input"), Axis("res", 4, "hidden"), Axis("mid", 6, "hidden"), Axis("y", 3, "output")]
    x, res, mid, y, k = Leaf("x"), Leaf("res"), Leaf("mid"), Leaf("y"), Span(3)
    blocks = [
        layer(module, "stem", "conv", (res, x, k, k), bias=False),
        norm(module, "norm0", res),
        layer(module, "conv1", "conv", (mid, res, k, k)),
        norm(module, "norm1", mid),
        layer(module, "conv2", "conv", (res, mid, k, k), bias=False),
        norm(module, "norm2", res),
        layer(module, "head", "linear", (y, Prod((res, Span(4))))),
    ]
    stages = (
        Stage("stem", "conv", ("stem.weight",)),
        Stage("norm0", "norm", tuple(f"norm0.{n}" for n in KINDS), ("relu",)),
        Stage("conv1", "conv", ("conv1.weight", "conv1.bias")),
        Stage("norm1", "norm", tuple(f"norm1.{n}" for n in KINDS), ("relu",)),
        Stage("conv2", "conv", ("conv2.weight",)),
        Stage("norm2", "norm", tuple(f"norm2.{n}" for n in KINDS), ("add", "relu", "max_pool", "flatten")),
        Stage("head", "linear", ("head.weight", "head.bias")),
    )
    return Case(module, graph_of(axes, blocks, stages), torch.randn(2, 2, 4, 4, generator=seeded(1)).double())


def grouped() -> Case:
    """A grouped convolution between two pointwise ones: groups, and channels that live in each group."""
    module = randomised(
        nn.Sequential(
            nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Conv2d(6, 9, 3, groups=3, padding=1), nn.ReLU(), nn.Conv2d(9, 2, 1)
        )
    )
    axes = [
        Axis("x", 2, "input"),
        Axis("G", 3, "hidden"),
        Axis("i", 2, "hidden", parent="G"),
        Axis("o", 3, "hidden", parent="G"),
        Axis("y", 2, "output"),
    ]
    x, y, i, gi, go = Leaf("x"), Leaf("y"), Leaf("i"), Prod((Leaf("G"), Leaf("i"))), Prod((Leaf("G"), Leaf("o")))
    blocks = [
        layer(module, "0", "conv", (gi, x, Span(1), Span(1))),
        layer(module, "2", "conv", (go, i, Span(3), Span(3))),
        layer(module, "4", "conv", (y, go, Span(1), Span(1))),
    ]
    stages = tuple(
        Stage(str(n), "conv", (f"{n}.weight", f"{n}.bias"), after)
        for n, after in ((0, ("relu",)), (2, ("relu",)), (4, ()))
    )
    return Case(module, graph_of(axes, blocks, stages), torch.randn(2, 2, 5, 5, generator=seeded(1)).double())


class Attention(nn.Module):
    """Self-attention with fused query, key and value, two heads of three units, and a residual stream."""

    def __init__(self):
        super().__init__()
        self.embed, self.qkv, self.out = nn.Linear(3, 5), nn.Linear(5, 18), nn.Linear(6, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        h = self.embed(x)
        q, k, v = (t.unflatten(-1, (2, 3)).transpose(1, 2) for t in self.qkv(h).chunk(3, -1))
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.head(h + self.out(mixed.transpose(1, 2).flatten(2)))


def attention() -> Case:
    module = randomised(Attention())
    axes = [
        Axis("x", 3, "input"),
        Axis("res", 5, "hidden"),
        Axis("heads", 2, "hidden"),
        Axis("qk", 3, "hidden", parent="heads"),
        Axis("vo", 3, "hidden", parent="heads"),
        Axis("y", 2, "output"),
    ]
    res, qk, vo = Leaf("res"), Prod((Leaf("heads"), Leaf("qk"))), Prod((Leaf("heads"), Leaf("vo")))
    blocks = [
        layer(module, "embed", "linear", (res, Leaf("x"))),
        layer(module, "qkv", "linear", (Sum((qk, qk, vo)), res)),
        layer(module, "out", "linear", (res, vo)),
        layer(module, "head", "linear", (Leaf("y"), res)),
    ]
    stages = (
        Stage("embed", "linear", ("embed.weight", "embed.bias")),
        Stage("qkv", "linear", ("qkv.weight", "qkv.bias"), ("attention",), ("qk",)),
        Stage("out", "linear", ("out.weight", "out.bias"), ("add",)),
        Stage("head", "linear", ("head.weight", "head.bias")),
    )
    return Case(module, graph_of(axes, blocks, stages), torch.randn(2, 4, 3, generator=seeded(1)).double())


CASES = {"mlp": mlp, "residual": residual, "grouped": grouped, "attention": attention}
