"""HDF5: weights of Keras (`.h5`, `.weights.h5`) and plain files of arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import CheckpointError

ROOTS = ("model_weights", "layers", "_layer_checkpoint_dependencies")
"""Groups of Keras that hold the network; what stands beside is training state."""
ROOM = 64 * 2**20
RATIO = 200


def read_hdf5(path: Path, *, trust: bool) -> Checkpoint:
    """Every array of numbers by its path in the file; optimizer state is left out. Nothing to `trust`.

    Raises:
        CheckpointError: Damaged, no array of numbers in it, or arrays that claim far more than the file holds.
    """
    return read_hdf5_bytes(path, path.stat().st_size, str(path))


def read_hdf5_bytes(file: Path | io.BytesIO, size: int, source: str) -> Checkpoint:
    """The same from bytes in memory."""
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    try:
        with h5py.File(file, "r") as store:
            metadata = _metadata(store)
            own = [key for key in store if isinstance(store.get(key, getlink=True), h5py.HardLink)]
            roots = [key for key in own if key in ROOTS] or own
            left_out |= {key: "optimizer or training state" for key in own if key not in roots}
            left_out |= {key: "a link to elsewhere, not followed" for key in store if key not in own}
            _check_size(store, max(ROOM, RATIO * size), source)
            for root in roots:
                _collect(store, root, f"{root}/" if root == "model_weights" else "", tensors, left_out)
    except CheckpointError:
        raise
    except Exception as error:  # h5py passes on whatever the C library meets in a damaged file
        raise CheckpointError(f"{source}: not a readable HDF5 file ({error}). Fetch or export it again.") from None
    if not tensors:
        raise CheckpointError(f"{source}: no array of numbers in it. Save with model.save_weights(path).")
    return Checkpoint(tensors, metadata, source, left_out=left_out)


def _check_size(store: h5py.File, room: int, source: str) -> None:
    claimed = 0

    def add(_: str, item: Any) -> None:
        nonlocal claimed
        claimed += item.nbytes if isinstance(item, h5py.Dataset) else 0

    store.visititems(add)
    if claimed > room:
        raise CheckpointError(f"{source}: its arrays claim {claimed} bytes, too many for this file. Fetch it again.")


def _collect(store: h5py.File, root: str, prefix: str, tensors: dict[str, Tensor], left_out: dict[str, str]) -> None:
    def keep(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        full = f"{root}/{name}".removesuffix("/").removeprefix(prefix)
        if item.dtype.kind not in "fiub" or item.external or item.is_virtual:
            left_out[full] = "not an array of real numbers in this file"
        else:
            values = item[()]
            tensors[full] = torch.from_numpy(np.array(values, dtype=item.dtype.newbyteorder("=")))

    item = store[root]
    if isinstance(item, h5py.Dataset):
        keep("", item)
    else:
        item.visititems(keep)


def _metadata(store: h5py.File) -> dict[str, str]:
    config = store.attrs.get("model_config")
    if config is None:
        return {}
    return {"keras_config": config.decode("utf-8", "replace") if isinstance(config, bytes) else str(config)}
