"""GPTQ and AWQ: whole numbers packed in 32-bit words, with a scale and a zero for each group of inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.resolve.plan import Derived, Finding

WORD = 32
PARTS = ("qweight", "qzeros", "scales", "g_idx")
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where in a word AWQ keeps the numbers of eight neighbouring outputs."""


def find_grouped(header: Header) -> Finding:
    """`qweight, qzeros, scales` (`g_idx`) become `weight = (q - zero) * scale`, outputs first.

    Which of the two layouts it is shows in the shapes: GPTQ packs along the inputs, AWQ along the outputs.
    The older GPTQ format stores each zero less one. Numbers of 3 bits run across words and are named, not read.

    Source:
        Frantar et al. (2023), "GPTQ"; Lin et al. (2024), "AWQ"; the layouts of AutoGPTQ and AutoAWQ.
    """
    derived: list[Derived] = []
    left_out: dict[str, str] = {}
    shift = 0 if _format(header) == "gptq_v2" else 1
    for layer in _layers(header):
        parts = [f"{layer}{end}" for end in PARTS if f"{layer}{end}" in header.tensors]
        item = _derived(header, layer, parts, shift)
        if item:
            derived.append(item)
        else:
            left_out |= {name: "packed by a quantiser whose layout is not known here" for name in parts}
    return Finding(tuple(derived), left_out)


def _layers(header: Header) -> Iterator[str]:
    for name, info in header.tensors.items():
        if name.endswith("qweight") and info.dtype == "I32" and len(info.shape) == 2:
            layer = name.removesuffix("qweight")
            if all(f"{layer}{end}" in header.tensors for end in ("qzeros", "scales")):
                yield layer


def _format(header: Header) -> str:
    try:
        return str(json.loads(header.metadata["config"])["quantization_config"]["checkpoint_format"])
    except (KeyError, ValueError, TypeError):
        return "gptq"


def _derived(header: Header, layer: str, parts: list[str], shift: int) -> Derived | None:
    packed, zeros, scales = (header.tensors[name].shape for name in parts[:3])
    if len(scales) != 2 or len(zeros) != 2 or zeros[0] != scales[0] or 0 in (*scales, *zeros, *packed):
        return None
    groups, outputs = scales
    bits = WORD * zeros[1] // outputs
    if bits not in (2, 4, 8) or bits * outputs != WORD * zeros[1]:
        return None
    gptq = packed[1] == outputs
    if not gptq and (bits != 4 or packed[1] * WORD != outputs * bits):
        return None
    inputs = packed[0] * WORD // bits if gptq else packed[0]
    given = [name for name in parts[3:] if gptq and header.tensors[name].shape == (inputs,)]
    if inputs % groups and not given:
        return None
    name = f"{layer}weight"
    info = TensorInfo(name, header.tensors[parts[2]].dtype, (outputs, inputs))
    reads = (*parts[:3], *given)
    return Derived(name, info, reads, _gptq, (bits, shift)) if gptq else Derived(name, info, reads, _awq)


def _unpack(words: Any, bits: int) -> Any:
    """Numbers of each word, least significant first, in a new last dimension."""
    import torch

    return (words.unsqueeze(-1) >> torch.arange(0, WORD, bits, dtype=torch.int32)) & (2**bits - 1)


def _gptq(bits: int, shift: int, packed: Any, zeros: Any, scales: Any, groups: Any = None) -> Any:
    import torch

    numbers = _unpack(packed, bits).movedim(-1, 1).reshape(-1, packed.shape[1])
    offsets = (_unpack(zeros, bits).reshape(zeros.shape[0], -1) + shift) & (2**bits - 1 if shift else -1)
    inputs = len(numbers)
    group = groups.long() if groups is not None else torch.arange(inputs) // (inputs // len(scales))
    return ((numbers - offsets[group]).to(scales.dtype) * scales[group]).T.contiguous()


def _awq(packed: Any, zeros: Any, scales: Any) -> Any:
    def numbers(words: Any) -> Any:
        return _unpack(words, 4)[..., list(AWQ_ORDER)].reshape(len(words), -1)

    each = len(packed) // len(scales)
    offsets, spread = numbers(zeros).repeat_interleave(each, 0), scales.repeat_interleave(each, 0)
    return ((numbers(packed) - offsets).to(scales.dtype) * spread).T.contiguous()
