"""Zip archives, looked at before anything is unpacked. Knows no torch."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from weightspace.errors import CheckpointError, UnsafeCheckpointError

ROOM = 64 * 2**20
"""Bytes any archive may unpack to."""
RATIO = 200
"""What a larger one may unpack to, in units of its own size; trained weights hardly shrink."""


def open_archive(path: Path) -> zipfile.ZipFile:
    """A zip whose entries stay in their folder and unpack to no more than is believable.

    Nothing is written to disk: names are checked because what lists them may.

    Raises:
        UnsafeCheckpointError: A zip bomb, or an entry that points outside the archive.
        CheckpointError: Not a zip, truncated, or with a name twice.
    """
    try:
        archive = zipfile.ZipFile(path)
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, EOFError) as error:
        raise CheckpointError(f"{path}: not a readable zip archive ({error}). Fetch or export it again.") from None
    try:
        _check_entries(entries, path.stat().st_size, path)
    except CheckpointError:
        archive.close()
        raise
    return archive


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of one entry, its checksum verified.

    Raises:
        CheckpointError: It is missing, encrypted or damaged.
    """
    try:
        return archive.read(name)
    except (KeyError, RuntimeError, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{archive.filename}: entry {name!r}: {error}. Fetch or export it again.") from None
    except Exception as error:  # zlib, bz2 and lzma each have an error class of their own
        raise CheckpointError(f"{archive.filename}: entry {name!r} is damaged ({error}). Fetch it again.") from None


def _check_entries(entries: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    names = [entry.filename for entry in entries]
    for name in names:
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute() or _windows_escape(name):
            raise UnsafeCheckpointError(f"{path}: entry {name!r} points outside the archive. Do not unpack this file.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(f"{path}: entry {twice!r} stands twice. Export the checkpoint again.")
    packed, unpacked = sum(entry.compress_size for entry in entries), sum(entry.file_size for entry in entries)
    if packed > size:
        raise UnsafeCheckpointError(f"{path}: its entries claim {packed} bytes of a file of {size}. Fetch it again.")
    if unpacked > max(ROOM, RATIO * size):
        raise UnsafeCheckpointError(
            f"{path}: {size} bytes would unpack to {unpacked}: a zip bomb. Do not unpack this file."
        )


def _windows_escape(name: str) -> bool:
    path = PureWindowsPath(name)
    return bool(path.drive) or path.is_absolute() or ".." in path.parts
