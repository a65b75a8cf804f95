"""One number a unit without a weight matrix: PReLU slopes, layer scales, biases on their own, log deviations."""

from __future__ import annotations

from weightspace.graph.kinds.layer import Group, Layer, Layout, is_vector, on

KINDS = {"bias": "bias", "log_std": "deviation", "prelu": "slope"}


def read(group: Group, layout: Layout) -> Layer | None:
    """Read vectors of one size that scale or shift the units they meet."""
    shapes = {info.shape for info in group.tensors.values()}
    if len(shapes) != 1 or not is_vector(next(iter(shapes))):
        return None
    axis, size = f"{group.path}.units", max(next(iter(shapes)))
    blocks = [on(info, KINDS.get(role, "scale"), axis) for role, info in group.tensors.items()]
    return Layer(group.path, "scale", blocks, {axis: size}, axis, axis)
