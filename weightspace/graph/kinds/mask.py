"""Masks kept as buffers: positions only, no units."""

from __future__ import annotations

from weightspace.graph.axes import Span
from weightspace.graph.kinds.layer import Group, Layer, Layout, block


def read(group: Group, layout: Layout) -> Layer | None:
    """Read a square table that is named as a mask, or as GPT-2's `attn.bias`."""
    role, info = next(iter(group.tensors.items()))
    square = len(info.shape) >= 2 and info.shape[-1] == info.shape[-2] and set(info.shape[:-2]) <= {1}
    named = role in ("bias", "masked_bias") or any(word in role.lower() for word in ("mask", "tril", "triu"))
    if len(group.tensors) != 1 or not square or not named:
        return None
    spans = tuple(map(Span, info.shape))
    return Layer(group.path, "mask", [block(info, "mask", spans, "k" * len(spans))], {}, None, "")
