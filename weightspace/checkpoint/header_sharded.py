"""Sharded checkpoints: the index that says which file holds which tensor. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.header_safetensors import read_safetensors_header
from weightspace.errors import CheckpointError, UnsafeCheckpointError

LONGEST = 100_000_000


def read_json(path: Path) -> Any:
    """A JSON file, of a size one can believe.

    Raises:
        CheckpointError: Too long, not UTF-8 or not JSON.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST + 1)
    return parse_json(text, str(path))


def parse_json(text: bytes, source: str) -> Any:
    """The same from bytes."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"longer than {LONGEST} bytes")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: not readable as JSON ({error}). Fetch or export it again.") from None


def parse_index(found: Any, source: str) -> dict[str, list[str]]:
    """Shard files in order, each with the tensors it holds.

    Raises:
        UnsafeCheckpointError: A shard outside the folder of the index.
        CheckpointError: No `weight_map`.
    """
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(f"{source}: no weight_map of names and files in it. Fetch or export it again.")
    shards: dict[str, list[str]] = {}
    for name, file in places.items():
        if leaves_folder(file):
            raise UnsafeCheckpointError(
                f"{source}: tensor {name!r} lies in {file!r}, outside its folder. Do not use this index."
            )
        shards.setdefault(file, []).append(name)
    return dict(sorted(shards.items()))


def leaves_folder(name: str) -> bool:
    """Whether a relative name could point outside the folder it is read from."""
    windows = PureWindowsPath(name)
    return (
        not name
        or "\0" in name
        or ".." in PurePosixPath(name).parts
        or ".." in windows.parts
        or PurePosixPath(name).is_absolute()
        or bool(windows.drive or windows.root)
    )


def read_index(path: Path) -> dict[Path, list[str]]:
    """Shard files of an index that are all there.

    Raises:
        UnsafeCheckpointError, CheckpointError: As `parse_index`; missing shards are named.
    """
    shards = parse_index(read_json(path), str(path))
    missing = [name for name in shards if not (path.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{path}: {len(missing)} of {len(shards)} shards are missing: {', '.join(missing[:5])}. Fetch them too."
        )
    return {path.parent / name: names for name, names in shards.items()}


def read_sharded_header(path: Path) -> Header:
    """One header of all safetensors shards; no weight is read."""
    return merge_shards(read_index(path), read_safetensors_header, str(path))


def merge_shards(shards: Mapping[Any, list[str]], read: Callable[[Any], Header], source: str) -> Header:
    """Headers of shards as one, in the order of the shards.

    Raises:
        CheckpointError: A shard does not hold what the index says.
    """
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    for shard, names in shards.items():
        header = read(shard)
        check_shard(names, header.tensors, f"{source}: shard {shard}")
        tensors |= {name: header.tensors[name] for name in names}
        metadata |= header.metadata
    return Header(tensors, metadata)


def check_shard(names: list[str], held: Mapping[str, Any], where: str) -> None:
    """Raise a `CheckpointError` where a shard lacks what the index says it holds."""
    missing = [name for name in names if name not in held]
    if missing:
        raise CheckpointError(f"{where} does not hold {missing[0]!r} (and {len(missing) - 1} more). Fetch it again.")
