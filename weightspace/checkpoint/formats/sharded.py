"""Sharded checkpoints: several files under one `*.index.json`."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.formats.safetensors import read_safetensors
from weightspace.checkpoint.formats.torch_file import read_torch_file
from weightspace.checkpoint.header_sharded import check_shard, read_index


def read_sharded(path: Path, *, trust: bool) -> Checkpoint:
    """All shards as one checkpoint, each mapped.

    Raises:
        UnsafeCheckpointError: The index points outside its folder.
        CheckpointError: A shard is missing or does not hold what the index says.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for shard, names in read_index(path).items():
        read = read_safetensors if shard.suffix == ".safetensors" else read_torch_file
        part = read(shard, trust=trust)
        check_shard(names, part.tensors, f"{path}: shard {shard}")
        tensors |= {name: part.tensors[name] for name in names}
        metadata |= part.metadata
    return Checkpoint(tensors, metadata, str(path))
