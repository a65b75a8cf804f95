"""Kernels with one input channel in PyTorch order: depthwise filters, or a first layer on grey images."""

from __future__ import annotations

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
            layer.make_depthwise()
            layer.entry = layer.exit


def _reads_one(layer: Layer) -> bool:
    return layer.entry is None or layer.sizes[layer.entry] == 1
