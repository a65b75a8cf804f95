"""Named weights of one trained network, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.errors import CheckpointError

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Named weights of one trained network. Never changes once built.

    Args:
        tensors: By name; may be memory-mapped. Tied weights are kept once, see `shared`.
        metadata: Free text by key; `architecture` holds the network's program as JSON where it is known.
        source: Where it was read from: a path, a hub id or the name of a class.
        shared: Names that are another name of a tensor here (tied weights), each with the name kept.
        left_out: What the file held beside these weights, by name, with the reason it was left out.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    source: str = "memory"
    shared: Mapping[str, str] = field(default_factory=dict, repr=False)
    left_out: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for alias, name in self.shared.items():
            if name not in self.tensors:
                raise CheckpointError(f"{self.source}: {alias!r} is said to share {name!r}, which is not there.")
        for name in ("tensors", "metadata", "shared", "left_out"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @cached_property
    def header(self) -> Header:
        """Names, shapes and dtypes alone."""
        infos = {
            name: TensorInfo(name, DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
            for name, tensor in self.tensors.items()
        }
        return Header(infos, self.metadata, self.shared)
