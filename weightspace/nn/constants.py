"""Constants of a plan where they are needed: moved to a device and precision once, then kept."""

from __future__ import annotations

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

_KEPT: WeakIdKeyDictionary = WeakIdKeyDictionary()


def on(constant: Tensor, x: Tensor) -> Tensor:
    """Return `constant` on the device of `x`, and in its precision if both are floats; gone when `constant` is.

    Example:
        >>> import torch
        >>> constant, x = torch.ones(2, dtype=torch.float64), torch.zeros(1)
        >>> on(constant, x).dtype, on(constant, x) is on(constant, x)
        (torch.float32, True)
    """
    dtype = x.dtype if constant.is_floating_point() else constant.dtype
    if constant.device == x.device and constant.dtype == dtype:
        return constant
    kept = _KEPT.setdefault(constant, {})
    if (x.device, dtype) not in kept:
        kept[x.device, dtype] = constant.to(x.device, dtype)
    found = kept[x.device, dtype]
    assert isinstance(found, Tensor)
    return found
