"""numpy's `.npz`, without pickles."""

from __future__ import annotations

import io
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from weightspace.checkpoint.archive import open_archive, read_entry
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import is_shape
from weightspace.errors import CheckpointError


def read_npz(path: Path, *, trust: bool) -> Checkpoint:
    """All arrays of numbers in the archive; arrays stored as a pickle are left out, whatever `trust` says.

    Raises:
        UnsafeCheckpointError: A zip bomb.
        CheckpointError: Damaged, or no array of numbers in it.
    """
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    with open_archive(path) as archive:
        for entry in archive.namelist():
            name = entry.removesuffix(".npy")
            array = _array(read_entry(archive, entry), f"{path}: array {name!r}") if name != entry else None
            if array is None or array.dtype.kind not in "fiub":
                left_out[name] = "not an array of real numbers"
            else:
                tensors[name] = torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    if not tensors:
        raise CheckpointError(f"{path}: no array of numbers in it. Save with numpy.savez(path, **arrays).")
    return Checkpoint(tensors, {}, str(path), left_out=left_out)


def _array(data: bytes, where: str) -> np.ndarray | None:
    """One `.npy`; None where it is a pickle."""
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, columns_first, dtype = read(file)
    except (ValueError, SyntaxError, RecursionError, MemoryError, OSError) as error:
        raise CheckpointError(f"{where}: its header cannot be read ({error}). Fetch or save it again.") from None
    if dtype.hasobject:
        return None
    held = len(data) - file.tell()
    if not is_shape(shape) or prod(shape) * dtype.itemsize != held:
        raise CheckpointError(f"{where}: {shape} of {dtype} does not fit {held} bytes. Fetch or save it again.")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if columns_first else "C")
