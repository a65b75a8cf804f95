"""Norms: batch, layer, RMS, group and instance norm store one number a channel."""

from __future__ import annotations

from weightspace.graph.kinds.layer import Group, Layer, Layout, is_vector, on

KINDS = {
    "gamma": "norm scale",
    "weight": "norm scale",
    "beta": "norm shift",
    "bias": "norm shift",
    "running_mean": "running mean",
    "running_var": "running variance",
}


def read(group: Group, layout: Layout) -> Layer | None:
    """Read a group of vectors of one size that has running statistics, a `gamma`, or the name of a norm."""
    shapes = {info.shape for info in group.tensors.values()}
    if len(shapes) != 1 or not is_vector(next(iter(shapes))):
        return None
    named = any(word in group.path.rsplit(".", 1)[-1].lower() for word in ("norm", "bn", "ln", "gn"))
    paired = {"weight", "bias"} <= set(group.tensors)
    if not (named or paired or {"gamma", "beta", "running_mean"} & set(group.tensors)):
        return None
    axis, size = f"{group.path}.channels", max(next(iter(shapes)))
    blocks = [on(info, KINDS.get(role, "norm scale"), axis) for role, info in group.tensors.items()]
    return Layer(group.path, "norm", blocks, {axis: size}, axis, axis)
