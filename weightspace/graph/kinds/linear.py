"""Linear layers, `(out, in)` as PyTorch stores them or `(in, out)` as Keras and TensorFlow do."""

from __future__ import annotations

from weightspace.graph.axes import Leaf
from weightspace.graph.kinds.layer import Group, Layer, Layout, block, on


def read(group: Group, layout: Layout) -> Layer | None:
    """Read `weight` of two dimensions; the bias shows which of them is written."""
    shape = group.shape("weight")
    if len(shape) != 2 or not group.only("weight", "bias") or len(group.shape("bias")) > 1:
        return None
    in_out, sure = _in_out(shape, group.shape("bias"), layout.in_out)
    entry, exit_ = f"{group.path}.in", f"{group.path}.out"
    names, view = ((entry, exit_), "io") if in_out else ((exit_, entry), "oi")
    sizes = dict(zip(names, shape, strict=True))
    blocks = [block(group.tensors["weight"], "linear", tuple(map(Leaf, names)), view)]
    if "bias" in group.tensors:
        if group.shape("bias") != (sizes[exit_],):
            return None
        blocks.append(on(group.tensors["bias"], "bias", exit_))
    return Layer(group.path, "linear", blocks, sizes, entry, exit_, sure=sure or layout.in_out_known)


def _in_out(shape: tuple[int, ...], bias: tuple[int, ...], default: bool) -> tuple[bool, bool]:
    if bias and shape[0] != shape[1] and bias[0] in shape:
        return bias[0] == shape[1], True
    return default, False
