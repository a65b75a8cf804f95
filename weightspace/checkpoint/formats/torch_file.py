"""What `torch.save` writes: `.pt .pth .th .bin .ckpt`, of the zip and the older form."""

from __future__ import annotations

import zipfile
from pathlib import Path

from torch import Tensor

from weightspace.checkpoint.archive import open_archive
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.unpickle import load_pickle
from weightspace.checkpoint.unwrap import unwrap
from weightspace.errors import CheckpointError, FormatError

ZIP = b"PK\x03\x04"
"""First bytes by which PyTorch, too, tells the zip form from the older one."""
ROOM = 2**20
"""Bytes a repeated (expanded) tensor may pretend to have in a file of less."""


def read_torch_file(path: Path, *, trust: bool) -> Checkpoint:
    """The network in the file; mapped where it is a zip, never executed.

    Raises:
        UnsafeCheckpointError: It asks for code to be run, or is a zip bomb.
        FormatError: A TorchScript program, or no file of PyTorch.
        CheckpointError: Damaged, or without tensors.
    """
    with path.open("rb") as file:
        zipped = file.read(len(ZIP)) == ZIP
    stored = _check_zip(path) if zipped else False
    tensors, values, left_out = unwrap(load_pickle(path, trust=trust, mmap=stored), str(path))
    _check_storage(tensors, path)
    return Checkpoint(tensors, values, str(path), left_out=left_out)


def _check_zip(path: Path) -> bool:
    """Whether all entries lie uncompressed in the file, so that it can be mapped."""
    with open_archive(path) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") for name in names):
        raise FormatError(
            f"{path}: a TorchScript program. Load it with torch.jit.load where it is trusted and save its state_dict()."
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise FormatError(f"{path}: a zip archive, but not of torch.save (no data.pkl in it). Is the suffix right?")
    return all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)


def _check_storage(tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that claim more numbers than the file can hold."""
    size = path.stat().st_size
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    for name, tensor in tensors.items():
        claimed = tensor.numel() * tensor.element_size()
        if claimed > max(size * 8, ROOM):
            raise CheckpointError(
                f"{path}: tensor {name!r} claims {claimed} bytes, the file has {size}. Fetch or save it again."
            )
    total = sum(storages.values())
    if total > size * 8 + ROOM:
        raise CheckpointError(f"{path}: its tensors claim {total} bytes, the file has {size}. Fetch or save it again.")
