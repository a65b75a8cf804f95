"""Kernels with one input channel in PyTorch order: depthwise filters, or a first layer on grey images."""

from __future__ import annotations

from dataclasses import replace

from weightspace.graph.axes import Leaf, Span
from weightspace.graph.kinds.layer import Layer


def settle(layers: list[Layer]) -> None:
    """Turn kernels with one input channel into depthwise ones where another layer writes as many channels.

    Args:
        layers: In data-flow order. The first convolution reads the input, so it stays as it is.
    """
    convs = [layer for layer in layers if layer.op == "conv" and layer.entry is not None]
    for layer in convs[1:]:
        channels = layer.sizes[layer.exit]
        others = [
            la for la in layers if la is not layer and la.exit and la.op != "norm" and la.sizes[la.exit] == channels
        ]
        if layer.sizes[layer.entry or ""] == 1 and channels > 1 and any(not _reads_one(la) for la in others):
            _turn(layer)


def _reads_one(layer: Layer) -> bool:
    return layer.entry is None or layer.sizes[layer.entry] == 1


def _turn(layer: Layer) -> None:
    once, layer.entry = layer.entry, layer.exit
    layer.blocks = [
        replace(b, kind="depthwise", dims=tuple(Span(1) if d == Leaf(once or "") else d for d in b.dims))
        if "i" in b.view
        else b
        for b in layer.blocks
    ]
