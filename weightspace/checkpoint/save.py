"""Checkpoints as safetensors files, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightspace.checkpoint.dtypes import DTYPES
from weightspace.checkpoint.whole import replacing
from weightspace.errors import CheckpointError

ALIGNMENT = 8
METADATA = "__metadata__"


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, overwrite: bool
) -> None:
    """Write a temporary file in the same folder, force it to disk, then rename it.

    Names stand in the header in their own order; the data is ordered by the size of its numbers, so that each
    tensor is aligned when the file is mapped.

    Raises:
        CheckpointError: `path` exists and may not be overwritten, cannot be written, or a dtype has no spelling.
    """
    refuse_existing(path, overwrite)
    placed = sorted(tensors, key=lambda name: -tensors[name].element_size())
    try:
        with replacing(path) as draft:
            with draft.open("xb") as file:
                file.write(_header(tensors, placed, metadata, str(path)))
                for name in placed:
                    file.write(raw_bytes(tensors[name]))
            refuse_existing(path, overwrite)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}). Choose another folder.") from None


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise a `CheckpointError` where a file would be lost."""
    if path.is_dir() or (path.exists() and not overwrite):
        raise CheckpointError(f"{path}: exists already. Choose another name, or pass overwrite=True for a file.")


def raw_bytes(tensor: Tensor) -> Any:
    """The numbers of a tensor as they lie in a file, first dimension outermost."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _header(tensors: Mapping[str, Tensor], placed: list[str], metadata: Mapping[str, str], source: str) -> bytes:
    spans, start = {}, 0
    for name in placed:
        _check_writable(name, tensors[name], source)
        stop = start + tensors[name].numel() * tensors[name].element_size()
        spans[name], start = [start, stop], stop
    entries: dict[str, object] = {METADATA: dict(metadata)}
    for name, tensor in tensors.items():
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": spans[name]}
    text = json.dumps(entries, ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _check_writable(name: str, tensor: Tensor, source: str) -> None:
    where = f"{source}: tensor {name!r}"
    if tensor.dtype not in DTYPES:
        raise CheckpointError(f"{where}: safetensors cannot hold {tensor.dtype}. Convert it, to float64 say.")
    if tensor.is_meta or tensor.layout != torch.strided:
        raise CheckpointError(f"{where}: a {tensor.layout} tensor on {tensor.device} has no plain numbers to write.")
    if name == METADATA:
        raise CheckpointError(f"{where}: safetensors keeps this name for its metadata. Rename it.")
