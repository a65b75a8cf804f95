"""The fused projections of `nn.MultiheadAttention`."""

from __future__ import annotations

from weightspace.graph.axes import Leaf, Sum
from weightspace.graph.kinds.layer import Group, Layer, Layout, block, on


def read(group: Group, layout: Layout) -> Layer | None:
    """Read `in_proj_weight (3 * width, width)`: rows are queries, keys, values in this order."""
    shape = group.shape("in_proj_weight")
    if len(shape) != 2 or shape[0] % 3 or not group.only("in_proj_weight", "in_proj_bias", "bias_k", "bias_v"):
        return None
    path, width = group.path, shape[0] // 3
    entry, inner = f"{path}.in", [f"{path}.{letter}" for letter in "qkv"]
    rows = Sum(tuple(map(Leaf, inner)))
    blocks = [block(group.tensors["in_proj_weight"], "linear", (rows, Leaf(entry)), "oi")]
    if "in_proj_bias" in group.tensors:
        blocks.append(block(group.tensors["in_proj_bias"], "bias", (rows,), "o"))
    for role, axis in (("bias_k", inner[1]), ("bias_v", inner[2])):
        if role in group.tensors:
            blocks.append(on(group.tensors[role], "bias", axis))
    sizes = {entry: shape[1]} | dict.fromkeys(inner, width)
    return Layer(path, "attention", blocks, sizes, entry, inner[2], spatial=True)
