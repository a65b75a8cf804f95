"""Counters and lists of indices kept as floats: no weights, but lists name units by their place."""

from __future__ import annotations

import re

from weightspace.graph.axes import Leaf, Span
from weightspace.graph.kinds.layer import Group, Layer, Layout, block

INDICES = re.compile(r"(^|_)(indices|index|idx)$")
LISTED = "units are named by their place in a list of indices"


def read(group: Group, layout: Layout) -> Layer | None:
    """Read `num_batches_tracked` and the like, or `keep_indices`."""
    if len(group.tensors) != 1:
        return None
    role, info = next(iter(group.tensors.items()))
    if role in ("num_batches_tracked", "global_step", "step"):
        spans = tuple(map(Span, info.shape))
        return Layer(group.path, "counter", [block(info, "counter", spans, "k" * len(spans))], {}, None, "")
    if INDICES.search(role) and len(info.shape) == 1:
        axis = f"{group.path}.units"
        made = block(info, "indices", (Leaf(axis),), "o")
        return Layer(group.path, "scale", [made], {axis: info.size}, axis, axis, {axis: ("fixed", LISTED)})
    return None
