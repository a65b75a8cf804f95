"""GGUF (llama.cpp), dequantised."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import CheckpointError

PLAIN = {"F64", "F32", "F16", "I8", "I16", "I32", "I64"}


def read_gguf(path: Path, *, trust: bool) -> Checkpoint:
    """All tensors, shapes outermost first as in PyTorch; quantised ones as float32. Nothing to `trust`.

    Raises:
        CheckpointError: Damaged, a name twice, or a quantisation that this version of gguf cannot undo.
    """
    try:
        reader = gguf.GGUFReader(path)
        metadata = {key: str(field.contents()) for key, field in reader.fields.items() if _is_short(field)}
    except Exception as error:  # the reader believes the file and fails where its numbers lead
        raise CheckpointError(f"{path}: not a readable GGUF file ({error}). Fetch or convert it again.") from None
    tensors = {}
    for stored in reader.tensors:
        name = str(stored.name)
        tensors[name] = _tensor(stored, f"{path}: tensor {name!r}")
    if not tensors:
        raise CheckpointError(f"{path}: no tensor in it. Fetch or convert it again.")
    return Checkpoint(tensors, metadata, str(path))


def _tensor(stored: gguf.ReaderTensor, where: str) -> Tensor:
    kind = stored.tensor_type.name
    shape = [int(size) for size in reversed(stored.shape.tolist())]
    try:
        if kind in PLAIN:
            return torch.from_numpy(np.array(stored.data)).reshape(shape)
        if kind == "BF16":
            return torch.from_numpy(np.array(stored.data)).view(torch.bfloat16).reshape(shape)
        return torch.from_numpy(np.array(gguf.dequantize(stored.data, stored.tensor_type))).reshape(shape)
    except (NotImplementedError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{where}: {kind} cannot be dequantised ({error}). Update gguf, or convert it to F16."
        ) from None


def _is_short(field: gguf.ReaderField) -> bool:
    """Whether a value is one number or text, not an array such as a vocabulary."""
    return len(field.types) == 1 and field.types[0] != gguf.GGUFValueType.ARRAY
