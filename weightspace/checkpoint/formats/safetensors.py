"""safetensors files, memory-mapped."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header_safetensors import read_safetensors_header
from weightspace.errors import CheckpointError


def read_safetensors(path: Path, *, trust: bool) -> Checkpoint:
    """All tensors of one file, mapped and not copied; there is nothing in it to `trust`.

    Raises:
        CheckpointError: The header lies, or holds a dtype this version of PyTorch does not know.
    """
    header = read_safetensors_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in header.tensors}
    except (SafetensorError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{path}: {error}. Update torch and safetensors, or export the file again.") from error
    return Checkpoint(tensors, header.metadata, str(path))
