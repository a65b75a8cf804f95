"""Agents of Stable-Baselines3: the networks in the `.zip`, none of its pickles of Python objects."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from weightspace.checkpoint.archive import open_archive, read_entry
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.formats.torch_file import read_torch_file
from weightspace.errors import CheckpointError, FormatError

POLICY = "policy.pth"
VERSION = "_stable_baselines3_version"


def read_sb3(path: Path, *, trust: bool) -> Checkpoint:
    """`policy.pth`, or where there is none every other state dict with its file name as prefix.

    Raises:
        FormatError: A zip without `.pth` files.
        UnsafeCheckpointError: A zip bomb, or a state dict that asks for code.
    """
    with open_archive(path) as archive:
        names = archive.namelist()
        parts = [POLICY] if POLICY in names else [name for name in names if _is_network(name)]
        if not parts:
            raise FormatError(f"{path}: a zip without state dicts (.pth). Unpack it and name the right file.")
        metadata = (
            {"stable_baselines3": read_entry(archive, VERSION).decode("utf-8", "replace")} if (VERSION in names) else {}
        )
        found = {name: _read_part(read_entry(archive, name), path, name, trust) for name in parts}
    tensors: dict[str, Tensor] = {}
    for name, part in found.items():
        prefix = "" if len(parts) == 1 else name.removesuffix(".pth") + "."
        tensors |= {f"{prefix}{key}": tensor for key, tensor in part.tensors.items()}
    left_out = {name: "not a network of the policy" for name in names if name not in parts}
    return Checkpoint(tensors, metadata, str(path), left_out=left_out)


def _is_network(name: str) -> bool:
    return name.endswith(".pth") and "optimizer" not in name


def _read_part(data: bytes, path: Path, name: str, trust: bool) -> Checkpoint:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.pth"
        part.write_bytes(data)
        try:
            return read_torch_file(part, trust=trust)
        except CheckpointError as error:
            raise type(error)(f"{path}: {name}: {str(error).removeprefix(f'{part}: ')}") from None
