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

from weightspace.checkpoint.dtypes import tensor_info
from weightspace.checkpoint.header import Header
from weightspace.checkpoint.save import write_safetensors
from weightspace.checkpoint.tidy import SAVED, pack_state
from weightspace.errors import CheckpointError


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
        try:
            "".join((*self.tensors, *self.metadata, *self.metadata.values(), *self.shared, *self.left_out)).encode()
        except UnicodeError as error:
            raise CheckpointError(
                f"{self.source}: a name or text in it is not UTF-8 ({error}). Save it again."
            ) from None
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
            CheckpointError: The file exists or cannot be written, or a tensor has no numbers to write.
        """
        metadata = {**self.metadata, SAVED: pack_state(self.shared, self.left_out)}
        write_safetensors(Path(path), self.tensors, metadata, overwrite=overwrite)


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(wide).all())
