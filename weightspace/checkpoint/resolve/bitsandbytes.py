"""bitsandbytes: rows in int8, or blocks in 4 bits with a table of values."""

from __future__ import annotations

import json
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.resolve.plan import Derived, Finding
from weightspace.errors import CheckpointError

STATE = ".quant_state.bitsandbytes__"


def find_bitsandbytes(header: Header) -> Finding:
    """`weight, SCB` become `weight * SCB / 127`; a `weight` with a `quant_state` is looked up block by block.

    The shape of a 4-bit weight stands in the data of its quant state and not in the header.

    Source:
        Dettmers et al. (2022), "LLM.int8()"; Dettmers et al. (2023), "QLoRA", section 3 (NF4, double quantisation);
        the serialised layout of bitsandbytes 0.41 to 0.45.
    """
    derived: list[Derived] = []
    left_out: dict[str, str] = {}
    for name in header.tensors:
        if STATE in name:
            derived.append(_four_bits(header, name))
        elif name.endswith("SCB"):
            layer = name.removesuffix("SCB")
            weight = header.tensors.get(f"{layer}weight")
            if weight and weight.dtype == "I8" and header.tensors[name].shape == weight.shape[:1]:
                info = TensorInfo(weight.name, "F32", weight.shape)
                derived.append(Derived(f"{layer}weight", info, (f"{layer}weight", name), _rows))
                if f"{layer}weight_format" in header.tensors:
                    left_out[f"{layer}weight_format"] = "a mark of the layout of int8 weights"
    return Finding(tuple(derived), left_out)


def _four_bits(header: Header, state: str) -> Derived:
    name = state.partition(STATE)[0]
    parts = [f"{name}{end}" for end in (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")]
    held = [part for part in parts if part in header.tensors]
    if name not in header.tensors or len(held) not in (2, 4):
        raise CheckpointError(f"tensor {name!r}: its quant state is there, but not its blocks. Export it again.")
    return Derived(name, None, (name, state, *held), _blocks)


def _rows(weight: Any, scales: Any) -> Any:
    return weight.float() * (scales.float() / 127)[:, None]


def _blocks(packed: Any, state: Any, scales: Any, table: Any, *nested: Any) -> Any:
    import torch

    plan = json.loads(bytes(state.tolist()))
    shape, size = [int(length) for length in plan["shape"]], int(plan["blocksize"])
    dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[plan["dtype"]]
    if nested:
        coarse, values = nested[0].float().reshape(-1), nested[1].float()
        each = torch.arange(scales.numel()) // int(plan["nested_blocksize"])
        scales = values[scales.long().reshape(-1)] * coarse[each] + float(plan["nested_offset"])
    words = packed.reshape(-1)
    codes = torch.stack([words >> 4, words & 15], -1).reshape(-1).long()
    count = TensorInfo("", "", tuple(shape)).size
    if not count <= len(codes) <= count + 1 or min(shape, default=0) < 0:
        raise ValueError(f"{len(codes)} numbers do not fill {shape}")
    block = torch.arange(count) // size
    return (table.float()[codes[:count]] * scales.float().reshape(-1)[block]).reshape(shape).to(dtype)
