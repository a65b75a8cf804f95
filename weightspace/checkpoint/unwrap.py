"""The network's own tensors inside what a training script saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.unpickle import PlainArray, PlainValues
from weightspace.errors import CheckpointError

SURE = ("state_dict", "model_state_dict", "model_state", "model_weights")
"""Keys that hold the network and nothing else does."""
LIKELY = ("model", "module", "net", "network", "params", "weights", "policy", "generator")
"""Keys that hold the network where no other entry holds tensors."""
OPTIMISERS = ("optim", "scheduler", "scaler", "rng", "grad")
AVERAGES = ("ema", "swa", "average")
DEEPEST = 32
SPARSEST, ROOM = 1000, 2**20
"""How many zeros a stored number of a sparse tensor may stand for, in tensors of more than `ROOM` numbers."""


def unwrap(saved: Any, source: str) -> tuple[dict[str, Tensor], dict[str, str], dict[str, str]]:
    """Tensors by name, plain values by key (as text), and what was left out with the reason.

    `{"state_dict": ...}` and its kin are opened, as often as they nest; several networks side by side
    keep their keys as prefixes; optimizer state and moving averages beside a network are left out.

    Raises:
        CheckpointError: No tensor in it.
    """
    left_out: dict[str, str] = {}
    values: dict[str, str] = {}
    inner, path = saved, ""
    while isinstance(inner, Mapping) and (key := _container(inner)) is not None:
        path, outer, inner = f"{path}{key}.", inner, inner[key]
        _note_siblings(outer, key, values, left_out)
    tensors: dict[str, Tensor] = {}
    try:
        _collect(inner, "", tensors, values, left_out, 0)
    except (CheckpointError, RuntimeError) as error:
        raise CheckpointError(f"{source}: {error}") from None
    if not tensors:
        raise CheckpointError(f"{source}: holds no tensor ({_kinds(inner)}). Save model.state_dict() and load that.")
    return tensors, values, left_out


def _container(saved: Mapping[Any, Any]) -> Any:
    """The key whose value alone is the network, or None where `saved` itself is."""
    held = [key for key, value in saved.items() if isinstance(value, Mapping) and _holds_tensor(value)]
    for key in SURE:
        if key in held:
            return key
    networks = [key for key in held if not _is_training(key, saved[key])]
    plain = [key for key in networks if not _is(key, AVERAGES)] or networks
    loose = any(_is_array(value) for value in saved.values())
    return plain[0] if len(plain) == 1 and (plain[0] in LIKELY or _is(plain[0], AVERAGES)) and not loose else None


def _note_siblings(outer: Mapping[Any, Any], chosen: Any, values: dict[str, str], left_out: dict[str, str]) -> None:
    for key, value in outer.items():
        if key == chosen:
            continue
        if _plain(value) is not None:
            values[str(key)] = str(_plain(value))
        elif _is_training(key, value):
            left_out[str(key)] = "optimizer or training state"
        elif _is(key, AVERAGES):
            left_out[str(key)] = f"moving average of {chosen!r}"
        else:
            left_out[str(key)] = f"stands beside {chosen!r}, which holds the network"


def _collect(
    saved: Any,
    prefix: str,
    tensors: dict[str, Tensor],
    values: dict[str, str],
    left_out: dict[str, str],
    depth: int,
) -> None:
    name = prefix.rstrip(".")
    if _is_array(saved):
        if (name or "tensor") in tensors:
            raise CheckpointError(f"the name {name!r} stands twice. Save the state dict again.")
        tensors[name or "tensor"] = _tensor(saved)
    elif isinstance(saved, Mapping) and depth < DEEPEST:
        for key, value in saved.items():
            if isinstance(value, Mapping) and _is_training(key, value) and _holds_tensor(value):
                left_out[f"{prefix}{key}"] = "optimizer or training state"
            else:
                _collect(value, f"{prefix}{_text(key)}.", tensors, values, left_out, depth + 1)
    elif isinstance(saved, (list, tuple)) and _holds_tensor(saved) and depth < DEEPEST:
        for index, value in enumerate(saved):
            _collect(value, f"{prefix}{index}.", tensors, values, left_out, depth + 1)
    elif (text := _plain(saved)) is not None:
        values[name] = text
    elif saved is not None:
        left_out[name] = f"a {type(saved).__name__}, not a tensor"


def _tensor(value: Any) -> Tensor:
    if isinstance(value, PlainArray):
        value = value.array
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    tensor = value.detach()
    if tensor.is_quantized:
        return tensor.dequantize()
    if tensor.layout == torch.strided:
        return tensor
    if tensor.numel() > max(SPARSEST * tensor._nnz(), ROOM):
        raise CheckpointError(
            f"a sparse tensor of {tuple(tensor.shape)} is too large to be written out. Save it dense."
        )
    return tensor.to_dense()


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, PlainArray)) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub")


def _holds_tensor(saved: Any, depth: int = 0) -> bool:
    if _is_array(saved):
        return True
    inner = saved.values() if isinstance(saved, Mapping) else saved if isinstance(saved, (list, tuple)) else ()
    return depth < DEEPEST and any(_holds_tensor(value, depth + 1) for value in inner)


def _is_training(key: Any, value: Any) -> bool:
    """Whether an entry is the state of an optimizer or its like, by its name or by the form that PyTorch gives it."""
    return _is(key, OPTIMISERS) or (isinstance(value, Mapping) and {"state", "param_groups"} <= set(value))


def _is(key: Any, words: tuple[str, ...]) -> bool:
    parts = str(key).lower().replace(".", "_").replace("-", "_").split("_")
    return any(part.startswith(word) if len(word) > 3 else part == word for part in parts for word in words)


def _plain(value: Any) -> str | None:
    if isinstance(value, PlainValues):
        return str(value.values)
    return str(value) if isinstance(value, (str, int, float)) else None


def _text(key: Any) -> str:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


def _kinds(saved: Any) -> str:
    if isinstance(saved, Mapping):
        return "keys " + ", ".join(map(repr, list(map(_text, saved))[:8])) if saved else "an empty mapping"
    return f"a {type(saved).__name__}"
