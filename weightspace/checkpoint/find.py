"""Which checkpoints are meant by the paths of a command line. Knows no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from weightspace.checkpoint.header_sharded import parse_index, read_json
from weightspace.checkpoint.sniff import MAIN_FILES, is_checkpoint_name
from weightspace.errors import CheckpointError


def find_checkpoints(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Every checkpoint once: files as they are, folders walked and sorted, `-` for lines of standard input.

    Symbolic links are followed, each folder once, so that loops end. A sharded set counts as its index, and of
    the same weights in two formats (`model.safetensors`, `pytorch_model.bin`) the better one. What is no file and
    no folder (a hub id, a mistake), and a folder that is empty or cannot be read, is passed on: `load_checkpoint`
    says what is wrong with it.

    Args:
        paths: Files, folders, hub ids or `-`.
    """
    found: dict[str, None] = {}
    for path in _lines(paths):
        inside = list(_walk(Path(path))) if os.path.isdir(path) else []
        found |= dict.fromkeys(inside or [path])
    return list(found)


def _lines(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    for path in paths:
        if str(path) == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield str(path)


def _walk(root: Path) -> Iterator[str]:
    visited = {root.resolve()}
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=unreadable.append, followlinks=True):
        folders[:] = [name for name in sorted(folders) if _is_new(Path(folder, name), visited)]
        yield from (str(Path(folder, name)) for name in _choose(Path(folder), sorted(files)))
    yield from (str(error.filename) for error in unreadable)


def _is_new(folder: Path, visited: set[Path]) -> bool:
    try:
        real = folder.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    if real in visited:
        return False
    visited.add(real)
    return True


def _choose(folder: Path, files: list[str]) -> list[str]:
    """File names of one folder that are checkpoints of their own."""
    mains = [name for name in MAIN_FILES if name in files and not name.startswith("adapter_")]
    dropped = set(mains[1:])
    for name in files:
        if name.endswith(".index.json"):
            dropped |= _shards(folder / name)
    return [name for name in files if is_checkpoint_name(name) and name not in dropped]


def _shards(index: Path) -> set[str]:
    try:
        return set(parse_index(read_json(index), str(index)))
    except (CheckpointError, OSError):
        return set()
