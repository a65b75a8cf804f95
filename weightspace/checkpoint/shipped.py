"""Folders of trained things: named by their path, or by the name of one that ships."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def find_folder(kind: str, name: str, marker: str) -> Path | None:
    """Return the folder of an encoder, decoder or generator; None where there is none.

    Args:
        kind: Where those lie that ship: `encoders`, `decoders`, `generators`.
        name: A path, or the name of one that ships.
        marker: File that it holds.
    """
    path = Path(name)
    if (path / marker).is_file():
        return path
    return _shipped(kind) / name if name in shipped_names(kind, marker) else None


def shipped_names(kind: str, marker: str) -> list[str]:
    """Return the names of those that ship, in order."""
    return sorted(path.parent.name for path in _shipped(kind).glob(f"*/{marker}"))


def _shipped(kind: str) -> Path:
    return Path(str(files("weightspace.model_zoo"))) / kind
