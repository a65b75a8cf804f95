"""The exact way between a stored tensor and the canonical `(out, in, *kernel)`; numpy and torch alike."""

from __future__ import annotations

from math import prod
from typing import Any

from weightspace.graph.axes import Block


def _order(view: str) -> list[int]:
    return [d for letter in "oik" for d, v in enumerate(view) if v == letter]


def to_block(stored: Any, block: Block) -> Any:
    """Return `stored` as `(out, in, *kernel)`; a block without units read has `in` 1, one without any `out` 1.

    Example:
        >>> import numpy as np
        >>> from weightspace.graph.axes import Block, Leaf, Span
        >>> hwio = Block("w", "conv", (Span(1), Span(3), Leaf("i"), Leaf("o")), "kkio", 24)
        >>> to_block(np.zeros((1, 3, 2, 4)), hwio).shape
        (4, 2, 1, 3)
    """
    order = _order(block.view)
    moved = stored.permute(order) if hasattr(stored, "permute") else stored.transpose(order)
    sizes = {letter: prod(n for n, v in zip(stored.shape, block.view, strict=True) if v == letter) for letter in "oi"}
    kernel = [n for n, v in zip(stored.shape, block.view, strict=True) if v == "k"]
    return moved.reshape(sizes["o"], sizes["i"], *kernel)


def from_block(canonical: Any, block: Block, shape: tuple[int, ...]) -> Any:
    """Return the tensor of `shape` that `to_block` made `canonical` from, bit for bit."""
    order = _order(block.view)
    moved = canonical.reshape([shape[d] for d in order])
    back = [order.index(d) for d in range(len(order))]
    return moved.permute(back) if hasattr(moved, "permute") else moved.transpose(back)
