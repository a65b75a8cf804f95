"""How PyTorch and safetensors spell the same kinds of numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from weightspace.checkpoint.header import TensorInfo

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
for _name, _spelled in {"float8_e8m0fnu": "F8_E8M0", "float4_e2m1fn_x2": "F4"}.items():
    if hasattr(torch, _name):  # from PyTorch 2.7 and 2.8 on
        DTYPES[getattr(torch, _name)] = _spelled


def tensor_info(name: str, tensor: Tensor) -> TensorInfo:
    """Shape and dtype of a tensor, as a header says them."""
    return TensorInfo(name, DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
