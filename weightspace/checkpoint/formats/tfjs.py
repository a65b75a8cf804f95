"""TensorFlow.js: `model.json` (or a weights manifest) with its binary shards, dequantised."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import is_shape
from weightspace.checkpoint.header_sharded import leaves_folder, read_json
from weightspace.errors import CheckpointError, FormatError, UnsafeCheckpointError

DTYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "uint16": "<u2", "bool": "u1"}


def read_tfjs(path: Path, *, trust: bool) -> Checkpoint:
    """Weights of the manifest, in its order; there is nothing in it to `trust`.

    Quantised weights come back as `scale * stored + min`.

    Raises:
        UnsafeCheckpointError: A shard outside the folder.
        CheckpointError: A shard is missing or too short.

    Source:
        The TensorFlow.js weights manifest (`weightsManifest`, `quantization`).
    """
    model = read_json(path)
    groups = model.get("weightsManifest") if isinstance(model, dict) else model
    if not isinstance(groups, list) or not groups or not all(_is_group(group) for group in groups):
        raise FormatError(f"{path}: no weights manifest of TensorFlow.js in it. Name its model.json.")
    tensors: dict[str, Tensor] = {}
    for group in groups:
        data = b"".join(_shard(path, name).read_bytes() for name in group["paths"])
        start = 0
        for entry in group["weights"]:
            name, tensor, start = _weight(entry, data, start, path)
            if name in tensors:
                raise CheckpointError(f"{path}: tensor {name!r} stands twice. Export it again.")
            tensors[name] = tensor
    topology = model.get("modelTopology") if isinstance(model, dict) else None
    metadata = {"keras_config": json.dumps(topology)} if topology else {}
    return Checkpoint(tensors, metadata, str(path))


def _is_group(group: Any) -> bool:
    return isinstance(group, dict) and isinstance(group.get("paths"), list) and isinstance(group.get("weights"), list)


def _shard(path: Path, name: Any) -> Path:
    """The file of a shard; also under the prefix that the manifest's own file name has."""
    if not isinstance(name, str) or leaves_folder(name):
        raise UnsafeCheckpointError(f"{path}: shard {name!r} lies outside its folder. Do not use this file.")
    prefix = path.name.removesuffix("model.json")
    for shard in (path.parent / name, path.parent / f"{prefix}{name}"):
        if shard.is_file():
            return shard
    raise CheckpointError(f"{path}: shard {name!r} is missing. Fetch it into the same folder.")


def _weight(entry: Any, data: bytes, start: int, path: Path) -> tuple[str, Tensor, int]:
    try:
        name, shape, spelled = str(entry["name"]), [int(size) for size in entry["shape"]], entry["dtype"]
        scaling = entry.get("quantization") or {}
        stored = np.dtype(DTYPES[scaling.get("dtype", spelled)])
        scale, least = float(scaling.get("scale", 1)), float(scaling.get("min", 0))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path}: a weight of the manifest is damaged: {error!r}. Fetch it again.") from None
    stop = start + prod(shape) * stored.itemsize
    if not is_shape(shape) or stop > len(data):
        raise CheckpointError(f"{path}: tensor {name!r} needs bytes {start} to {stop} of {len(data)}. Fetch it again.")
    values = np.frombuffer(data[start:stop], stored).reshape(shape)
    if "scale" in scaling:
        values = (values.astype(np.float32) * np.float32(scale) + np.float32(least)).astype(np.float32)
    elif spelled == "bool":
        values = values.astype(bool)
    return name, torch.from_numpy(np.array(values)), stop
