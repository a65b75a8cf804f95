"""Named weights of one trained network, and where they came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.save import write_safetensors
from weightspace.checkpoint.tidy import SAVED, pack_state
from weightspace.errors import CheckpointError

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
for _name, _spelled in {"float8_e8m0fnu": "F8_E8M0", "float4_e2m1fn_x2": "F4"}.items():
    if hasattr(torch, _name):  # from PyTorch 2.7 and 2.8 on
        DTYPES[getattr(torch, _name)] = _spelled


def tensor_info(name: str, tensor: Tensor) -> TensorInfo:
    """Shape and dtype of a tensor, as a header says them."""
    return TensorInfo(name, DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))


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
        infos = {name: tensor_info(name, tensor) for name, tensor in self.tensors.items()}
        return Header(infos, self.metadata, self.shared)

    @cached_property
    def non_finite(self) -> tuple[str, ...]:
        """Names of the tensors that hold a NaN or an infinity; reads all weights once."""
        return tuple(name for name, tensor in self.tensors.items() if not _is_finite(tensor))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a safetensors file that `load_checkpoint` reads back exactly: bits, names, metadata and ties.

        The file is there whole or not at all.

        Args:
            path: Of the file; by custom it ends in `.safetensors`.
            overwrite: Whether an existing file may be replaced.

        Raises:
            CheckpointError: The file exists, or cannot be written.
        """
        metadata = {**self.metadata, SAVED: pack_state(self.shared, self.left_out)}
        write_safetensors(Path(path), self.tensors, metadata, overwrite=overwrite)


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(wide).all())
