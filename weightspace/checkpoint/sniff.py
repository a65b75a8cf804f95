"""Which format a file has, and which file of a folder is the checkpoint. Knows no torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from weightspace.checkpoint.header_sharded import read_json
from weightspace.errors import CheckpointError, FormatError


@dataclass(frozen=True)
class Format:
    """One kind of file and what reads it.

    Args:
        name: What messages call it.
        reader: `module:function` below `weightspace.checkpoint.formats`; `(path, *, trust) -> Checkpoint`.
        suffixes: Ends of file names that have it.
        magic: First bytes that have it whatever the name is.
        needs: Package of the extra `formats` it needs.
    """

    name: str
    reader: str
    suffixes: tuple[str, ...]
    magic: bytes | None = None
    needs: str | None = None

    def load_reader(self) -> Any:
        """The reading function.

        Raises:
            FormatError: The extra it needs is not installed.
        """
        module, function = self.reader.split(":")
        try:
            if self.needs:
                import_module(self.needs)
        except ImportError:
            raise FormatError(
                f"{self.name} files need the package {self.needs}: pip install 'weightspace[formats]'."
            ) from None
        return getattr(import_module(f"weightspace.checkpoint.formats.{module}"), function)


FORMATS = (
    Format("safetensors", "safetensors:read_safetensors", (".safetensors",)),
    Format("sharded", "sharded:read_sharded", (".index.json",)),
    Format("PyTorch", "torch_file:read_torch_file", (".pt", ".pth", ".th", ".bin", ".ckpt")),
    Format("numpy", "npz:read_npz", (".npz",)),
    Format("Stable-Baselines3", "sb3:read_sb3", (".zip",)),
    Format("ONNX", "onnx:read_onnx", (".onnx",), needs="onnx"),
    Format("Keras", "keras:read_keras", (".keras",), needs="h5py"),
    Format("HDF5", "hdf5:read_hdf5", (".h5", ".hdf5"), magic=b"\x89HDF\r\n\x1a\n", needs="h5py"),
    Format("GGUF", "gguf:read_gguf", (".gguf",), magic=b"GGUF", needs="gguf"),
    Format("TensorFlow.js", "tfjs:read_tfjs", ("model.json", "weights_manifest.json")),
)
"""A new format is one file and one line here."""

SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)

MAIN_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "adapter_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
    "adapter_model.bin",
)
"""What the checkpoint of a folder is called, best first; the others say the same weights again."""

COMPANIONS = {"config": "config.json", "adapter": "adapter_config.json"}
"""Text kept beside the weights: metadata key and file."""

NOT_WEIGHTS = re.compile(
    r"(optimizer|scheduler|scaler|training_args|rng_state(_\d+)?|random_states(_\d+)?)\.(pt|pth|bin|pkl|safetensors)"
    r"|.*group\d+-shard\d+of\d+(\.bin)?"
)
"""Files of training state, and pieces that another file names."""


def identify(path: Path) -> Format:
    """The format of a file, by its first bytes where they tell, else by its suffix.

    Raises:
        FormatError: None that is read here.
    """
    with path.open("rb") as file:
        start = file.read(8)
    for known in FORMATS:
        if known.magic and start.startswith(known.magic):
            return known
    for known in FORMATS:
        if path.name.lower().endswith(known.suffixes):
            return known
    raise FormatError(
        f"{path}: not a format that is read here ({', '.join(SUFFIXES)}). Convert it to safetensors, or rename it."
    )


def is_checkpoint_name(name: str) -> bool:
    """Whether a file name looks like one that holds weights."""
    return name.lower().endswith(SUFFIXES) and not NOT_WEIGHTS.fullmatch(name)


def main_file(names: Collection[str], source: str) -> str:
    """The checkpoint among the file names of one folder.

    Raises:
        CheckpointError: None, or several of which none has the usual name.
    """
    for name in MAIN_FILES:
        if name in names:
            return name
    found = sorted(name for name in names if is_checkpoint_name(name))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CheckpointError(
            f"{source}: no checkpoint in this folder ({', '.join(SUFFIXES)}). Name a file or another."
        )
    raise CheckpointError(
        f"{source}: {len(found)} checkpoints in this folder ({', '.join(found[:5])}). Name one of them."
    )


def local_file(path: Path) -> Path:
    """The file to read for a path: itself, or the checkpoint of a folder.

    Raises:
        CheckpointError: It cannot be read, or the folder does not say which.
    """
    try:
        if path.is_dir():
            return path / main_file([entry.name for entry in path.iterdir() if entry.is_file()], str(path))
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file or folder, or not a regular file. Check the path.")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from None
    return path


def companions(path: Path) -> dict[str, str]:
    """Configuration that stands beside the main file of a folder, as JSON text by metadata key."""
    if path.name not in MAIN_FILES:
        return {}
    found = {key: path.parent / name for key, name in COMPANIONS.items()}
    return {key: _checked_text(file) for key, file in found.items() if file.is_file()}


def _checked_text(path: Path) -> str:
    read_json(path)
    return path.read_text("utf-8")
