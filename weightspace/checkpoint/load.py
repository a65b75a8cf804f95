"""Whatever holds trained weights, as one `Checkpoint`; and its header alone. Imports torch only for weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightspace.checkpoint import remote
from weightspace.checkpoint.header import Header
from weightspace.checkpoint.header_safetensors import read_safetensors_header
from weightspace.checkpoint.header_sharded import read_index, read_sharded_header
from weightspace.checkpoint.resolve.plan import ValuesNeeded
from weightspace.checkpoint.sniff import companions, identify, is_checkpoint_name, local_file
from weightspace.checkpoint.tidy import tidy_header
from weightspace.errors import CheckpointError

if TYPE_CHECKING:
    import weightspace.checkpoint.checkpoint


def load_checkpoint(
    source: Any, *, revision: str | None = None, trust: bool = False
) -> weightspace.checkpoint.checkpoint.Checkpoint:
    """Weights by name, as the network itself has them.

    Wrapper prefixes are stripped, weight norm and its kin resolved, quantised weights of public layouts scaled
    back, ties kept once; optimizer state and moving averages are listed in `left_out`. No file is ever executed.

    Args:
        source: A file, a folder, a hub id (`org/name`, `org/name/subfolder`), a state dict, an `nn.Module`,
            or a `Checkpoint`, which comes back as it is. An existing path wins over a hub id.
        revision: Branch, tag or commit of a hub id.
        trust: Let harmless classes of training scripts in a pickle (namespaces, numpy numbers and arrays,
            paths, default dicts) be replaced by plain values; `weightspace.checkpoint.unpickle` lists them.

    Raises:
        CheckpointError: Damaged or contradictory content; `UnsafeCheckpointError` where it asks for code or for
            paths outside its folder, `FormatError` where the format is not read here.
        RemoteError: The hub cannot be reached or does not hold it.

    Example:
        >>> import torch
        >>> load_checkpoint({"module.fc.weight": torch.ones(2, 3)}).tensors["fc.weight"].shape
        torch.Size([2, 3])
    """
    from weightspace.checkpoint import memory

    if not isinstance(source, (str, os.PathLike)):
        return memory.from_memory(source)
    path = local_path(source, revision)
    if path is None:
        path = remote.download(str(source), revision)
        return memory.from_file(path, companions(path), trust=trust, source=str(source))
    path = local_file(path)
    return memory.from_file(path, companions(path), trust=trust, source=str(path))


def read_header(source: Any, *, revision: str | None = None, trust: bool = False) -> Header:
    """Names, shapes and dtypes as `load_checkpoint(source).header` has them.

    Of safetensors, sharded or not, here or on the hub, only the headers are read and torch is not imported;
    other formats are loaded.

    Args:
        source: As for `load_checkpoint`.
        revision: As for `load_checkpoint`.
        trust: As for `load_checkpoint`.

    Raises:
        CheckpointError, RemoteError: As `load_checkpoint`.
    """
    if isinstance(source, (str, os.PathLike)):
        path = local_path(source, revision)
        raw = remote.read_remote_header(str(source), revision) if path is None else _local_header(local_file(path))
        try:
            if raw is not None:
                return _tidied(raw, str(source))
        except ValuesNeeded:
            pass
    return load_checkpoint(source, revision=revision, trust=trust).header


def local_path(source: str | os.PathLike[str], revision: str | None) -> Path | None:
    """The local path that is meant, or None where a hub id is.

    Raises:
        CheckpointError: A revision for a local path.
    """
    path = Path(os.path.expanduser(source))
    missing_file = is_checkpoint_name(path.name) and len(path.parts) <= 2
    is_hub = isinstance(source, str) and not os.path.lexists(path) and remote.is_hub_id(source) and not missing_file
    if revision is not None and not is_hub:
        raise CheckpointError(f"{source}: a local path has no revision ({revision!r}). Leave it out, or name a hub id.")
    return None if is_hub else path


def _local_header(path: Path) -> Header | None:
    try:
        kind = identify(path).name
        if kind == "safetensors":
            raw = read_safetensors_header(path)
        elif kind == "sharded" and all(shard.suffix == ".safetensors" for shard in read_index(path)):
            raw = read_sharded_header(path)
        else:
            return None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from None
    return Header(raw.tensors, _joined(raw.metadata, companions(path)))


def _tidied(raw: Header, source: str) -> Header:
    try:
        return tidy_header(raw)
    except CheckpointError as error:
        raise type(error)(f"{source}: {error}") from None


def _joined(metadata: Mapping[str, str], beside: Mapping[str, str]) -> dict[str, str]:
    """What the file itself says wins over what stands beside it."""
    return {**beside, **metadata}
