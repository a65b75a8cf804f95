"""Whatever holds trained weights, as one `Checkpoint`."""

from __future__ import annotations

import os
from pathlib import Path

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.formats.safetensors import read_safetensors
from weightspace.checkpoint.names import plain_names


def load_checkpoint(source: str | os.PathLike[str], *, revision: str | None = None) -> Checkpoint:
    """Weights by name, from a file."""
    found = read_safetensors(Path(source))
    plain = plain_names(found.tensors)
    return Checkpoint({plain[name]: tensor for name, tensor in found.tensors.items()}, found.metadata, found.source)
