"""Weights that are in memory, or mapped into it, as a `Checkpoint`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn, no_grad
from torch.nn.utils import parametrize

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.resolve.plan import Stored
from weightspace.checkpoint.sniff import identify
from weightspace.checkpoint.tidy import tidy
from weightspace.checkpoint.unwrap import unwrap
from weightspace.errors import CheckpointError

RESOLVED_FROM_STATE = ("_WeightNorm", "_SpectralNorm")
"""Parametrizations whose rule is known from their tensors alone."""


def from_memory(source: Any) -> Checkpoint:
    """A module, a state dict (as nested as a training script saves it) or a checkpoint.

    Raises:
        CheckpointError: None of these, or without tensors.
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, nn.Module):
        return from_stored(Checkpoint(_module_tensors(source), source=type(source).__name__))
    if isinstance(source, Mapping):
        tensors, values, left_out = unwrap(source, "state dict")
        return from_stored(Checkpoint(tensors, values, "state dict", left_out=left_out))
    raise CheckpointError(
        f"a {type(source).__name__} is no checkpoint. Pass a path, a hub id, a state dict or an nn.Module."
    )


def from_file(path: Path, beside: Mapping[str, str], *, trust: bool, source: str) -> Checkpoint:
    """The checkpoint of one file.

    Args:
        path: An existing file.
        beside: Metadata from files that stand beside it.
        trust: As in `load_checkpoint`.
        source: What the checkpoint says it was read from.

    Raises:
        CheckpointError: As `load_checkpoint`.
    """
    try:
        found = identify(path).load_reader()(path, trust=trust)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from None
    metadata = {**beside, **found.metadata}
    return from_stored(Checkpoint(found.tensors, metadata, source, left_out=found.left_out))


def from_stored(found: Checkpoint) -> Checkpoint:
    """The same weights with plain names, resolved, and each once.

    Raises:
        CheckpointError: What is stored does not fit together.
    """
    identity = {name: _identity(name, tensor) for name, tensor in found.tensors.items()}
    try:
        stored, shared = tidy(Stored(found.header, identity, found.tensors, found.left_out))
    except CheckpointError as error:
        raise type(error)(f"{found.source}: {error}") from None
    left_out = {**found.left_out, **stored.left_out}
    return Checkpoint(stored.tensors or {}, stored.header.metadata, found.source, shared, left_out)


def _identity(name: str, tensor: Tensor) -> Hashable:
    """Equal for two names of the same memory, seen in the same way."""
    if tensor.numel() == 0:
        return name
    where = id(tensor) if tensor.is_meta else tensor.data_ptr()
    return where, tuple(tensor.shape), tensor.stride(), tensor.dtype


def _module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Its state dict; parametrized weights whose rule only the module knows are worked out."""
    state = {name: _plain(value) for name, value in module.state_dict(keep_vars=True).items()}
    tensors = {name: value for name, value in state.items() if value is not None}
    for path, part in module.named_modules(remove_duplicate=False):
        for name in getattr(part, "parametrizations", {}) if parametrize.is_parametrized(part) else ():
            kinds = {type(rule).__name__ for rule in part.parametrizations[name]}
            if not kinds <= set(RESOLVED_FROM_STATE) or len(part.parametrizations[name]) > 1:
                prefix = f"{path}." if path else ""
                tensors = {key: value for key, value in tensors.items() if not _of(key, prefix, name)}
                with no_grad():
                    tensors[f"{prefix}{name}"] = getattr(part, name).detach()
    return tensors


def _plain(value: Any) -> Tensor | None:
    """The tensor itself; keeps identity of meta tensors, so that ties show."""
    if not isinstance(value, Tensor):
        return None
    return value if value.is_meta else value.detach()


def _of(key: str, prefix: str, name: str) -> bool:
    return key.startswith(f"{prefix}parametrizations.{name}.")
