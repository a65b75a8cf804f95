"""What a layer kind makes of the tensors stored under one module path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from weightspace.checkpoint.header import TensorInfo
from weightspace.graph.axes import Block, Leaf, Role, Span, Term


@dataclass(frozen=True)
class Group:
    """The tensors of one module.

    Args:
        path: Module path, `/` and `.` both written as `.`.
        tensors: By role (`weight`, `bias`, `running_mean`, ...), see `infer/names.py`.
    """

    path: str
    tensors: Mapping[str, TensorInfo]

    def shape(self, role: str) -> tuple[int, ...]:
        """Shape of the tensor in `role`, `()` if there is none."""
        return self.tensors[role].shape if role in self.tensors else ()

    def only(self, *roles: str) -> bool:
        """Whether every tensor has one of these roles."""
        return set(self.tensors) <= set(roles)


@dataclass(frozen=True)
class Layout:
    """How this checkpoint stores its weights where a layer alone does not show it.

    Args:
        in_out: Linear weights are `(in, out)`, not `(out, in)`.
        in_out_known: Whether a bias or the framework of the names shows that.
        channels_last: Convolution kernels are `(*kernel, in, out)`, not `(out, in, *kernel)`.
    """

    in_out: bool = False
    in_out_known: bool = True
    channels_last: bool = False


@dataclass
class Layer:
    """Blocks of one module on axes of their own, before any wiring.

    Args:
        path: Module path.
        op: What it computes: `linear`, `conv`, `norm`, `embedding`, `recurrent`, `attention`, ...
        blocks: Its tensors; axes are named after the module.
        sizes: Units of each axis that the blocks name.
        entry: Axis that the layer reads, `None` if it reads none.
        exit: Axis that it writes. A norm reads and writes the same axis.
        roles: Role and reason of the axes whose meaning the kind itself knows.
        parents: Axis and the axis it is nested in.
        bound: Axes that stand for a composite of others (`exit` of a two-directional layer).
        reads: Axes that the layer consumes without a weight.
        spatial: Whether it acts on maps or sequences position by position.
        sure: Whether its input and output could not be the other way round.
    """

    path: str
    op: str
    blocks: list[Block]
    sizes: dict[str, int]
    entry: str | None
    exit: str
    roles: dict[str, tuple[Role, str]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    bound: dict[str, Term] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    spatial: bool = False
    sure: bool = True

    def make_depthwise(self) -> None:
        """Let each kernel act on the channel that it writes; the axis of single channels that it read is gone."""
        once, kernels = Leaf(self.entry or ""), [b for b in self.blocks if "i" in b.view]
        for b in kernels:
            dims = tuple(Span(1) if d == once else d for d in b.dims)
            self.blocks[self.blocks.index(b)] = replace(b, kind="depthwise", dims=dims)

    def flip(self) -> None:
        """Exchange input and output: the weight was stored the other way round."""
        swap = str.maketrans("io", "oi")
        self.blocks = [
            Block(b.tensor, b.kind, b.dims, b.view.translate(swap), b.size) if "i" in b.view else b for b in self.blocks
        ]
        assert self.entry is not None
        self.entry, self.exit = self.exit, self.entry


def block(info: TensorInfo, kind: str, dims: tuple[Term, ...], view: str) -> Block:
    """Return the block of a stored tensor."""
    return Block(info.name, kind, dims, view, info.size)


def on(info: TensorInfo, kind: str, axis: str) -> Block:
    """Return the block of a tensor with one number a unit of `axis`; other dimensions must have size 1."""
    wide = max(range(len(info.shape)), key=lambda d: info.shape[d])
    dims = tuple(Leaf(axis) if d == wide else Span(n) for d, n in enumerate(info.shape))
    return block(info, kind, dims, "".join("o" if d == wide else "k" for d in range(len(dims))))


def is_vector(shape: tuple[int, ...]) -> bool:
    """Whether all dimensions but at most one have size 1."""
    return bool(shape) and max(shape) == prod(shape)
