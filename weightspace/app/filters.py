"""What the first layer of a network looks for, as small pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, Literal

import numpy as np
from jaxtyping import Int8
from torch import Tensor

from weightspace.errors import ExplorerError
from weightspace.graph.axes import Block, ParameterGraph, leaves

MOST, SIDE = 48, 64
"""Pictures, and pixels of a side, at most."""


@dataclass(frozen=True, eq=False)
class Filters:
    """Weights of the first layer, one picture a unit, all on one scale.

    Args:
        tensor: Name.
        kind: `grey` and `colour` have a picture a unit, `(units, height, width[, 3])`; `matrix` is one of all units.
        pixels: Weights over the largest, times 127.
        largest: The largest absolute weight.
        units: How many the layer has; the first of them are shown.
        averaged: How many input channels one picture is the mean of; 1 for none.
    """

    tensor: str
    kind: Literal["grey", "colour", "matrix"]
    pixels: Int8[np.ndarray, "pictures height width ..."]
    largest: float
    units: int
    averaged: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Return JSON's types; pixels as base64."""
        count, height, width = self.pixels.shape[:3]
        packed = base64.b64encode(self.pixels.tobytes()).decode()
        about = {"tensor": self.tensor, "kind": self.kind, "largest": self.largest, "averaged": self.averaged}
        return about | {"units": self.units, "shown": count, "height": height, "width": width, "pixels": packed}


def first_filters(
    tensors: Mapping[str, Tensor], graph: ParameterGraph, inputs: tuple[int, ...] | None = None
) -> Filters:
    """Return the weights between a network's inputs and its first units.

    Convolutions: a picture of the taps, grey for one input channel and in colour for three, the mean of them for
    others. Layers that read flattened pictures: the weights of each unit as that picture. All else is one matrix, its
    longer side across.

    Args:
        tensors: By name.
        graph: Of the network.
        inputs: Shape of one input, where it is known.

    Raises:
        ExplorerError: No weights read the inputs, or they are not finite.
    """
    block = _first_block(graph)
    value = tensors[block.tensor].detach().float().numpy()
    if not np.isfinite(value).all():
        raise ExplorerError(f"{block.tensor!r}, the first layer, holds NaN or infinite weights: there is no picture.")
    order = [d for letter in "oik" for d in range(value.ndim) if block.view[d] == letter]
    sizes = [prod(value.shape[d] for d in range(value.ndim) if block.view[d] == letter) for letter in "oi"]
    taps = [value.shape[d] for d in range(value.ndim) if block.view[d] == "k"]
    weights = value.transpose(order).reshape(*sizes, *taps)
    pictures, kind, averaged = _pictures(weights, inputs)
    shown = pictures[:MOST, :: _step(pictures.shape[1]), :: _step(pictures.shape[2])]
    largest = float(np.abs(shown).max(initial=0.0))
    pixels = np.round(shown * (127 / (largest or 1.0))).astype(np.int8)
    return Filters(block.tensor, kind, pixels, largest, sizes[0], averaged)


def _first_block(graph: ParameterGraph) -> Block:
    for stage in graph.stages:
        for name in stage.blocks:
            block = graph.blocks[name]
            reads = [leaf.axis for leaf in leaves(block.in_axis)] if block.in_axis else []
            if reads and block.out_axis and all(graph.axes[axis].role == "input" for axis in reads):
                return block
    raise ExplorerError("no layer is known to read the inputs, so there are no first filters to show.")


def _pictures(
    weights: np.ndarray, inputs: tuple[int, ...] | None
) -> tuple[np.ndarray, Literal["grey", "colour", "matrix"], int]:
    """Weights `(units, inputs, *taps)` as `(pictures, height, width[, 3])`."""
    units, read, *taps = weights.shape
    if len(taps) == 2 and prod(taps) > 1:
        if read == 3:
            return weights.transpose(0, 2, 3, 1), "colour", 1
        return weights.mean(1), "grey", read
    if len(taps) == 1 and taps[0] > 1:
        return weights, "grey", 1
    flat = weights.reshape(units, -1)
    side = isqrt(read)
    if not taps and inputs is not None and len(inputs) == 3 and prod(inputs) == read and inputs[0] in (1, 3):
        shaped = flat.reshape(units, *inputs)
        return (shaped[:, 0], "grey", 1) if inputs[0] == 1 else (shaped.transpose(0, 2, 3, 1), "colour", 1)
    if not taps and side > 2 and side * side == read:
        return flat.reshape(units, side, side), "grey", 1
    across = flat if flat.shape[1] >= units else flat.T
    return across[None, :256, :256], "matrix", 1


def _step(side: int) -> int:
    return max(1, -(-side // (4 * SIDE if side > SIDE else SIDE)))
