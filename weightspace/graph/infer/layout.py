"""How a checkpoint stores its weights: found by which dimension the biases fit, then by whose names it uses."""

from __future__ import annotations

import re

from weightspace.checkpoint.header import Header
from weightspace.graph.kinds.layer import Group, Layout

TORCH = re.compile(r"(^|[._])(weight|running_mean|weight_(ih|hh)\w*|in_proj_weight)$")
PORTED = re.compile(r"_BN\b|(^|[._])dense|kernel|gamma|moving_|ReadVariableOp|BiasAdd|depthwise_filter", re.IGNORECASE)


def is_torch(header: Header) -> bool:
    """Whether tensors are named as PyTorch names them."""
    return any(TORCH.search(name) for name in header.tensors)


def find_layout(header: Header, groups: list[Group]) -> Layout:
    """Return the layout that most biases agree with; where none tells, that of the framework of the names."""
    torch = is_torch(header)
    in_out, last = 0, 0
    for group in groups:
        shape, bias = group.shape("weight"), group.shape("bias")
        if len(shape) >= 2 and len(bias) == 1 and shape[0] != shape[-1] and bias[0] in (shape[0], shape[-1]):
            vote = 1 if bias[0] == shape[-1] else -1
            in_out, last = (in_out + vote, last) if len(shape) == 2 else (in_out, last + vote)
    known = bool(in_out) or torch
    return Layout(in_out > 0 if in_out else not torch, known, last > 0 if last else not torch)


def flatten_order(header: Header, layout: Layout) -> str | None:
    """Return whether maps are flattened channels `first` or `last`; None if the file does not show it.

    A network ported from another framework (PyTorch kernels under Keras or Caffe names) often permutes its maps
    before it flattens them, so there the order stays unknown.
    """
    if layout.channels_last:
        return "last"
    ported = any(PORTED.search(name) for name in header.tensors)
    return "first" if is_torch(header) and not ported else None
