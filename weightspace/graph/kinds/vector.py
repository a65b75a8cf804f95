"""One number a unit without a weight matrix: PReLU slopes, layer scales, biases on their own, log deviations."""

from __future__ import annotations

import re

from weightspace.graph.axes import Leaf
from weightspace.graph.kinds.layer import Group, Layer, Layout, block, is_vector, on

TOKENS = re.compile(r"token|query_embed|mask_embed|cls_embed", re.IGNORECASE)
KINDS = {"bias": "bias", "log_std": "deviation", "prelu": "slope"}


def read(group: Group, layout: Layout) -> Layer | None:
    """Read vectors of one size that scale or shift the units they meet."""
    shapes = {info.shape for info in group.tensors.values()}
    if set(group.tensors) == {"log_std"} and len(group.shape("log_std")) == 2:
        return _exploration(group)
    if len(shapes) != 1 or not is_vector(next(iter(shapes))):
        return None
    if TOKENS.search(group.path):
        return _token(group)
    if set(group.tensors) == {"log_std"}:
        return _deviation(group)
    axis, size = f"{group.path}.units", max(next(iter(shapes)))
    blocks = [on(info, KINDS.get(role, "scale"), axis) for role, info in group.tensors.items()]
    return Layer(group.path, "scale", blocks, {axis: size}, axis, axis)


def _exploration(group: Group) -> Layer:
    """Read the log deviation of state-dependent exploration, `(features, actions)`."""
    entry, exit_ = f"{group.path}.in", f"{group.path}.out"
    info = group.tensors["log_std"]
    made = block(info, "deviation", (Leaf(entry), Leaf(exit_)), "io")
    return Layer(group.path, "linear", [made], dict(zip((entry, exit_), info.shape, strict=True)), entry, exit_)


def _token(group: Group) -> Layer:
    """Read a learned token, one vector that joins a sequence."""
    exit_, info = f"{group.path}.out", next(iter(group.tensors.values()))
    made = on(info, "token embedding", exit_)
    return Layer(group.path, "token embedding", [made], {exit_: max(info.shape)}, None, exit_, spatial=True)


def _deviation(group: Group) -> Layer:
    """Read the log deviation of the actions, one number an action."""
    axis, info = f"{group.path}.actions", group.tensors["log_std"]
    made = on(info, "deviation", axis)
    return Layer(group.path, "deviation", [made], {axis: info.size}, None, "", {axis: ("output", "")})
