"""Low-rank adapters (LoRA, PEFT) on the weights that they change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import sqrt
from typing import Any

from torch import Tensor, einsum

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import CheckpointError, FormatError

PAIR = re.compile(
    r"(?P<layer>.*?)\.?lora_(?P<part>(?:embedding_)?[AB])(?:\.(?!weight$|bias$)[^.]+)?(?P<end>\.weight|\.bias)?"
)
OTHERS = re.compile(r"(^|\.)(lora_magnitude_vector|hada_w|lokr_w|ia3_l|oft_|boft_|vera_lambda)")
SAVED_WHOLE = re.compile(r"(^|(?<=\.))(modules_to_save\.(default\.)?|base_layer\.)")


def apply_adapter(base: Checkpoint, adapter: Checkpoint) -> Checkpoint:
    """The base with the adapter's change in it: `W + scale * B A` for each pair, in the dtype of `W`.

    The scale is `alpha / rank` (`alpha / sqrt(rank)` for rank-stabilised ones) of the adapter's configuration, which
    `load_checkpoint` keeps in `metadata["adapter"]`. Layers saved whole replace those of the base.

    Args:
        base: What the adapter was trained on.
        adapter: As `load_checkpoint` reads it: the low-rank pairs.

    Raises:
        FormatError: An adapter of another kind than LoRA.
        CheckpointError: A layer that the base lacks or has in another shape, or no configuration.

    Source:
        Hu et al. (2021), "LoRA", section 4.1; Kalajdzievski (2023) for the rank-stabilised scale.
    """
    other = next((name for name in adapter.tensors if OTHERS.search(name)), None)
    if other:
        raise FormatError(
            f"{adapter.source}: tensor {other!r}: only LoRA is applied here. Merge it where it was trained."
        )
    config = _config(adapter)
    tensors = dict(base.tensors)
    pairs, whole = _split(adapter.tensors)
    for layer, parts in pairs.items():
        name = _target(layer, "weight", base, adapter)
        tensors[name] = _changed(tensors[name], parts, _scale(config, layer, parts), f"{adapter.source}: {layer!r}")
        if "B.bias" in parts:
            bias = _target(layer, "bias", base, adapter)
            change = parts["B.bias"].float() * _scale(config, layer, parts)
            tensors[bias] = (tensors[bias].float() + change).to(tensors[bias].dtype)
    for name, tensor in whole.items():
        layer, _, end = SAVED_WHOLE.sub("", name).rpartition(".")
        kept = _target(layer, end, base, adapter)
        _same_shape(tensors[kept], tensor, f"{adapter.source}: tensor {name!r}")
        tensors[kept] = tensor
    source = f"{base.source} + {adapter.source}"
    return Checkpoint(tensors, base.metadata, source, base.shared, base.left_out)


def _config(adapter: Checkpoint) -> dict[str, Any]:
    try:
        config = json.loads(adapter.metadata["adapter"])
        float(config["lora_alpha"])
    except (KeyError, ValueError, TypeError):
        raise CheckpointError(
            f"{adapter.source}: no lora_alpha in its configuration. Load the folder that holds adapter_config.json."
        ) from None
    return config


def _split(tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """Low-rank pairs by layer, and tensors saved whole by name."""
    pairs: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = PAIR.fullmatch(name)
        if found:
            part = found["part"] + (".bias" if found["end"] == ".bias" else "")
            pairs.setdefault(found["layer"], {})[part] = tensor
        else:
            whole[name] = tensor
    return pairs, whole


def _target(layer: str, end: str, base: Checkpoint, adapter: Checkpoint) -> str:
    """The base's name of a layer, whichever of the two has more prefixes."""
    wanted = f"{layer}.{end}".lstrip(".")
    names = {**{name: name for name in base.tensors}, **base.shared}
    if wanted in names:
        return names[wanted]
    near = {kept for name, kept in names.items() if name.endswith(f".{wanted}") or wanted.endswith(f".{name}")}
    if len(near) != 1:
        raise CheckpointError(
            f"{adapter.source}: {wanted!r} is {'ambiguous' if near else 'not'} in {base.source}. Is it the right base?"
        )
    return near.pop()


def _scale(config: dict[str, Any], layer: str, parts: Mapping[str, Tensor]) -> float:
    down = parts.get("A", parts.get("embedding_A"))
    rank = down.shape[0] if down is not None and down.ndim else 1
    patterns = config.get("alpha_pattern") or {}
    keys = [key for key in patterns if re.search(rf"(^|\.){re.escape(key)}$", layer)]
    alpha = float(patterns[keys[0]]) if keys else float(config["lora_alpha"])
    return alpha / (sqrt(rank) if config.get("use_rslora") else rank) if rank else 0.0


def _changed(weight: Tensor, parts: Mapping[str, Tensor], scale: float, where: str) -> Tensor:
    if {"embedding_A", "embedding_B"} <= set(parts):
        change = (parts["embedding_B"].float() @ parts["embedding_A"].float()).T
    elif {"A", "B"} <= set(parts):
        down, up = parts["A"].float(), parts["B"].float()
        if down.shape[:1] != up.shape[1:2] or any(size != 1 for size in up.shape[2:]):
            raise CheckpointError(f"{where}: A {tuple(down.shape)} and B {tuple(up.shape)} do not fit. Fetch it again.")
        change = einsum("or,r...->o...", up.reshape(up.shape[0], -1), down)
    else:
        raise CheckpointError(
            f"{where}: one half of the pair is missing, only {sorted(parts)} is there. Fetch it again."
        )
    if change.shape != weight.shape and change.ndim == 2 and change.T.shape == weight.shape:
        change = change.T
    _same_shape(weight, change, where)
    return (weight.float() + scale * change).to(weight.dtype)


def _same_shape(weight: Tensor, change: Tensor, where: str) -> None:
    if weight.shape != change.shape:
        raise CheckpointError(
            f"{where}: the adapter has {tuple(change.shape)}, the base {tuple(weight.shape)}. Is it the right base?"
        )
