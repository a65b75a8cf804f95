"""Weight norm: a direction and a length instead of a weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.resolve.plan import Derived, Finding

PARAMETRIZED = "parametrizations."


def find_weight_norm(header: Header) -> Finding:
    """`weight_g, weight_v` and `parametrizations.weight.original0, original1` become `weight`.

    `w = v * g / |v|`, the norm over all dimensions but the one that `g` keeps.

    Source:
        Salimans and Kingma (2016), "Weight normalization", equation 2.
    """
    return Finding(tuple(_derived(header, *names) for names in _pairs(header)))


def _pairs(header: Header) -> Iterator[tuple[str, str, str]]:
    for name in header.tensors:
        if name.endswith("_g"):
            found = name.removesuffix("_g"), name, name.removesuffix("_g") + "_v"
        elif name.endswith(".original0") and PARAMETRIZED in name:
            whole = name.removesuffix(".original0")
            found = whole.replace(PARAMETRIZED, ""), name, f"{whole}.original1"
        else:
            continue
        plain, length, direction = found
        if direction in header.tensors and plain not in header.tensors:
            if _fits(header.tensors[length].shape, header.tensors[direction].shape):
                yield found


def _fits(length: tuple[int, ...], direction: tuple[int, ...]) -> bool:
    kept = [dim for dim, size in enumerate(length) if size != 1]
    if len(direction) < 2 or len(kept) > 1:
        return False
    return length == () or (len(length) == len(direction) and all(length[dim] == direction[dim] for dim in kept))


def _derived(header: Header, plain: str, length: str, direction: str) -> Derived:
    info = header.tensors[direction]
    return Derived(plain, TensorInfo(plain, info.dtype, info.shape), (length, direction), _weight)


def _weight(length: Any, direction: Any) -> Any:
    summed = [dim for dim in range(direction.ndim) if length.ndim == 0 or length.shape[dim] == 1]
    return direction * (length / direction.square().sum(summed, keepdim=True).sqrt())
