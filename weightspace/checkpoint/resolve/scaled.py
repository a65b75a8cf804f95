"""Weights in 8 bits with the scale beside them (FP8 and int8)."""

from __future__ import annotations

from math import ceil
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.resolve.plan import Derived, Finding

SCALES = ("_scale_inv", "_scale")
"""Both multiply: `_scale_inv` is the inverse of what the weight was divided by."""
BLOCK = 128
ACTIVATIONS = ("input_scale", "k_scale", "v_scale", "output_scale", "input_zero_point")


def find_scaled(header: Header) -> Finding:
    """`weight` with `weight_scale` (or `weight_scale_inv`) becomes `weight * scale` in float32.

    The scale is one number, one a row, or one a block of 128 x 128; int8 may have a `weight_zero_point`.
    Scales of activations are left out.

    Source:
        The layouts of compressed-tensors (`float-quantized`, `int-quantized`) and of DeepSeek-V3 (block scales).
    """
    derived = []
    for name, info in header.tensors.items():
        if not (info.dtype.startswith("F8") or info.dtype == "I8"):
            continue
        scale = next((name + end for end in SCALES if name + end in header.tensors), None)
        if scale and _fits(info.shape, header.tensors[scale].shape):
            zero = f"{name}_zero_point"
            reads = (name, scale, zero) if zero in header.tensors else (name, scale)
            derived.append(Derived(name, TensorInfo(name, "F32", info.shape), reads, _weight))
    owners = {item.name.rpartition(".")[0] for item in derived}
    left_out = {
        f"{owner}.{end}".lstrip("."): "a scale of activations, not of weights"
        for owner in owners
        for end in ACTIVATIONS
        if f"{owner}.{end}".lstrip(".") in header.tensors
    }
    return Finding(tuple(derived), left_out)


def _fits(weight: tuple[int, ...], scale: tuple[int, ...]) -> bool:
    one = TensorInfo("", "", scale).size == 1
    rows = bool(weight) and scale in ((weight[0],), (weight[0], *[1] * (len(weight) - 1)))
    return one or rows or _blocks(weight, scale)


def _blocks(weight: tuple[int, ...], scale: tuple[int, ...]) -> bool:
    return len(weight) == len(scale) == 2 and scale == tuple(ceil(size / BLOCK) for size in weight)


def _weight(weight: Any, scale: Any, zero: Any = None) -> Any:
    values = weight.float()
    if zero is not None:
        values = values - _spread(zero.float(), weight)
    return values * _spread(scale.float(), weight)


def _spread(scale: Any, weight: Any) -> Any:
    """One number for every weight, or as many as broadcast to it."""
    if scale.numel() == 1:
        return scale.reshape(())
    if tuple(scale.shape) == (weight.shape[0],):
        return scale.reshape(-1, *[1] * (weight.ndim - 1))
    if (_blocks(tuple(weight.shape), tuple(scale.shape)) and scale.shape[1] > 1) or scale.shape[0] != weight.shape[0]:
        rows = scale.repeat_interleave(BLOCK, 0)[: weight.shape[0]]
        return rows.repeat_interleave(BLOCK, 1)[:, : weight.shape[1]]
    return scale
