"""Biases added to attention scores by distance: T5's `(buckets, heads)`, Swin's `((2 window - 1)^2, heads)`."""

from __future__ import annotations

import re

from weightspace.graph.axes import Leaf, Span
from weightspace.graph.kinds.layer import Group, Layer, Layout, block

NAME = re.compile(
    r"(^|[._])(relative_attention_bias|rel(ative)?_pos(ition)?_bias(_table)?|relative_bias(_table)?|attention_biases)$",
    re.IGNORECASE,
)


def read(group: Group, layout: Layout) -> Layer | None:
    """Read a table of distances by heads; it alone tells how many heads there are.

    `attention_biases` (LeViT) has the heads first.
    """
    info = next(iter(group.tensors.values()))
    if len(group.tensors) != 1 or len(info.shape) != 2 or not NAME.search(group.path):
        return None
    heads_first = group.path.lower().endswith("attention_biases")
    exit_ = f"{group.path}.heads"
    distances, count = info.shape[::-1] if heads_first else info.shape
    dims = (Leaf(exit_), Span(distances)) if heads_first else (Span(distances), Leaf(exit_))
    made = block(info, "relative bias", dims, "ok" if heads_first else "ko")
    return Layer(group.path, "relative bias", [made], {exit_: count}, None, exit_, spatial=True)
