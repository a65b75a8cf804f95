"""What a file says it holds, before any weight is read. Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any

DEEPEST = 64
"""Dimensions a tensor may have, as in PyTorch."""


def is_shape(sizes: Any) -> bool:
    """Whether some tensor could have these sizes: whole numbers, none negative, addressable even where one is zero.

    Example:
        >>> is_shape([2, 0]), is_shape([2**40, 2**40, 0]), is_shape([2.0]), is_shape(None)
        (True, False, False, False)
    """
    if not isinstance(sizes, (list, tuple)) or len(sizes) > DEEPEST:
        return False
    return all(type(size) is int and size >= 0 for size in sizes) and prod(size or 1 for size in sizes) < 2**59


@dataclass(frozen=True)
class TensorInfo:
    """Shape and dtype of one stored tensor.

    Args:
        name: As in the checkpoint.
        dtype: safetensors' spelling: `F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I64 I32 I16 I8 U8 BOOL`, ...
        shape: Sizes of its dimensions.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers, that is weights or statistics."""
        return self.dtype.startswith(("F", "BF"))


@dataclass(frozen=True)
class Header:
    """Names, shapes and dtypes of all tensors of a checkpoint, and its metadata.

    Args:
        tensors: By name, in file order.
        metadata: Free text by key; `architecture` holds the network's program as JSON where it is known.
        shared: Names that are another name of a tensor (tied weights), each with the name kept.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tensors", "metadata", "shared"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def weights(self) -> int:
        """Real numbers held, running statistics included."""
        return sum(info.size for info in self.tensors.values() if info.is_float)
