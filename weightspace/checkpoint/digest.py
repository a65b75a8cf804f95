"""One name for one content: hashes of files and of weights in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header_sharded import read_index
from weightspace.checkpoint.save import raw_bytes
from weightspace.checkpoint.sniff import local_file
from weightspace.errors import CheckpointError

PIECE = 2**22


def content_hash(source: Checkpoint | str | os.PathLike[str]) -> str:
    """SHA-256 as 64 hexadecimal digits.

    Of a path: of the bytes of the file (of a folder, its checkpoint; of a sharded set, all shards in the
    order of their names). Of a `Checkpoint`: of its weights, in the order of their names, with names, dtypes,
    shapes and ties, so that the same weights have the same hash wherever they were read from.

    Raises:
        CheckpointError: The file cannot be read, or a tensor has no numbers.
    """
    digest = hashlib.sha256()
    if isinstance(source, Checkpoint):
        _add_weights(digest.update, source)
    else:
        path = local_file(Path(source))
        for part in read_index(path) if path.name.endswith(".index.json") else [path]:
            _add_file(digest.update, part)
    return digest.hexdigest()


def count_bytes(source: Checkpoint | str | os.PathLike[str]) -> int:
    """Return how many bytes of weights there are, about: those of the files; 0 of what is not here."""
    if isinstance(source, Checkpoint):
        return sum(tensor.numel() * tensor.element_size() for tensor in source.tensors.values())
    try:
        path = local_file(Path(source))
        parts = read_index(path) if path.name.endswith(".index.json") else [path]
        return sum(part.stat().st_size for part in parts)
    except (OSError, CheckpointError):
        return 0


def _add_file(add: Callable[[Any], None], path: Path) -> None:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                add(piece)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from None


def _add_weights(add: Callable[[Any], None], checkpoint: Checkpoint) -> None:
    infos = checkpoint.header.tensors
    entries = [[name, infos[name].dtype, list(infos[name].shape)] for name in sorted(infos)]
    add(json.dumps([entries, sorted(checkpoint.shared.items())]).encode())
    for name in sorted(infos):
        if checkpoint.tensors[name].is_meta:
            raise CheckpointError(
                f"{checkpoint.source}: tensor {name!r} is on the meta device, so it has a shape and no numbers. Load "
                "the weights first."
            )
        add(raw_bytes(checkpoint.tensors[name]))
