"""Keras 3's `.keras`: a zip with the weights as HDF5 and the architecture as JSON."""

from __future__ import annotations

import io
from pathlib import Path

from weightspace.checkpoint.archive import open_archive, read_entry
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.formats.hdf5 import read_hdf5_bytes
from weightspace.errors import FormatError

WEIGHTS = "model.weights.h5"


def read_keras(path: Path, *, trust: bool) -> Checkpoint:
    """Weights of the archive; its configuration is kept as text and never run, whatever `trust` says.

    Raises:
        FormatError: No weights in the archive.
        UnsafeCheckpointError: A zip bomb.
        CheckpointError: Damaged.
    """
    with open_archive(path) as archive:
        names = archive.namelist()
        if WEIGHTS not in names:
            raise FormatError(f"{path}: no {WEIGHTS} in it. Save with model.save('name.keras').")
        data = read_entry(archive, WEIGHTS)
        config = read_entry(archive, "config.json").decode("utf-8", "replace") if "config.json" in names else None
    found = read_hdf5_bytes(io.BytesIO(data), len(data), str(path))
    return Checkpoint(found.tensors, {"keras_config": config} if config else {}, str(path), left_out=found.left_out)
