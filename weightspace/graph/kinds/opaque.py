"""What no kind recognises: kept by its shape, counted as not understood, never relabelled."""

from __future__ import annotations

from weightspace.checkpoint.header import TensorInfo
from weightspace.graph.axes import Block, Leaf
from weightspace.graph.kinds.layer import Group, Layer, Layout, block


def read(group: Group, layout: Layout) -> Layer:
    """Give every dimension of every tensor an axis of its own that is fixed without a reason."""
    blocks: list[Block] = []
    sizes: dict[str, int] = {}
    for info in group.tensors.values():
        names = [f"{info.name}.{d}" for d in range(len(info.shape))]
        sizes |= dict(zip(names, info.shape, strict=True))
        blocks.append(_block(info, names))
    return Layer(group.path, "opaque", blocks, sizes, None, "", {name: ("fixed", "") for name in sizes})


def _block(info: TensorInfo, names: list[str]) -> Block:
    view = ("oi" + "k" * len(names))[: len(names)]
    return block(info, "opaque", tuple(Leaf(name) for name in names), view)
