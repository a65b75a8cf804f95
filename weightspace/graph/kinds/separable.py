"""Depthwise and separable convolutions of Keras and TensorFlow: `depthwise_kernel (*kernel, in, multiplier)`."""

from __future__ import annotations

from weightspace.graph.axes import Leaf, Prod, Span, Term
from weightspace.graph.kinds.layer import Group, Layer, Layout, block, on


def read(group: Group, layout: Layout) -> Layer | None:
    """Read a depthwise kernel, and the pointwise one that may follow it."""
    shape = group.shape("depthwise_weight")
    if len(shape) < 3 or not group.only("depthwise_weight", "pointwise_weight", "bias"):
        return None
    entry, exit_, spans = f"{group.path}.in", f"{group.path}.out", tuple(map(Span, shape[:-2]))
    *_, channels, multiplier = shape
    middle: Term = Leaf(entry) if multiplier == 1 else Prod((Leaf(entry), Span(multiplier)))
    sizes, taps = {entry: channels}, "k" * len(spans)
    info = group.tensors["depthwise_weight"]
    blocks = [block(info, "depthwise", (*spans, Leaf(entry), Span(multiplier)), taps + "oo")]
    pointwise = group.tensors.get("pointwise_weight")
    if pointwise:
        if pointwise.shape[-2] != channels * multiplier:
            return None
        sizes[exit_] = pointwise.shape[-1]
        blocks.append(block(pointwise, "conv", (*map(Span, pointwise.shape[:-2]), middle, Leaf(exit_)), taps + "io"))
    elif multiplier == 1:
        exit_ = entry
    else:
        sizes[exit_] = channels * multiplier
    if "bias" in group.tensors:
        if group.shape("bias") != (sizes[exit_],):
            return None
        blocks.append(on(group.tensors["bias"], "bias", exit_))
    bound = {exit_: middle} if exit_ != entry and not pointwise else {}
    return Layer(group.path, "conv", blocks, sizes, entry, exit_, bound=bound, spatial=True)
