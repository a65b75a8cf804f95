"""Fixed filter banks kept among the weights: short-time Fourier transforms, mel and constant-Q bases."""

from __future__ import annotations

import re

from weightspace.graph.axes import Leaf, Span
from weightspace.graph.kinds.layer import Group, Layer, Layout, block

NAME = re.compile(
    r"(^|[^a-z])(i?stft|dft|fft|cqt\w*|mel_?(basis|fb|filter\w*|scale)|filter_?bank|window)([^a-z]|$)", re.IGNORECASE
)
BANK = "a bin of a fixed filter bank"


def read(group: Group, layout: Layout) -> Layer | None:
    """Read a basis or window by its name: its bins and samples keep their order."""
    if not NAME.search(group.path):
        return None
    blocks, sizes = [], {}
    for info in group.tensors.values():
        axis = f"{info.name}.bins"
        sizes[axis] = info.shape[0] if info.shape else 1
        spans = tuple(map(Span, info.shape[1:]))
        blocks.append(block(info, "filter bank", (Leaf(axis), *spans), "o" + "k" * len(spans)))
    return Layer(group.path, "filter bank", blocks, sizes, None, "", {axis: ("fixed", BANK) for axis in sizes})
