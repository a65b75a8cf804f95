"""What is no real number, or no part of the graph, kept exactly."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.save import raw_bytes
from weightspace.errors import CodecError

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Dtypes of weights that are compressed."""

KEPT = (
    *FLOATS,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)
"""Dtypes by the number that names them."""

LARGEST = 2**31
"""Bytes that what is kept may take once it is unpacked."""


def pack_rest(dtypes: Mapping[str, torch.dtype], kept: Mapping[str, Tensor]) -> bytes:
    """Return dtypes of compressed tensors and the tensors that are kept; nothing where all is single precision.

    Raises:
        CodecError: A dtype cannot be kept.
    """
    if not kept and set(dtypes.values()) <= {torch.float32}:
        return b""
    for name, t in kept.items():
        if t.dtype not in KEPT:
            raise CodecError(f"tensor {name!r}: {t.dtype} cannot be kept. Convert it, to float32 say.")
    one = set(dtypes.values())
    head = {
        "d": KEPT.index(one.pop()) if len(one) == 1 else {name: KEPT.index(d) for name, d in dtypes.items()},
        "k": [[name, KEPT.index(t.dtype), list(t.shape)] for name, t in kept.items()],
    }
    if not kept and isinstance(head["d"], int):
        return bytes([head["d"]])
    text = json.dumps(head, separators=(",", ":")).encode()
    body = b"".join(bytes(raw_bytes(t)) for t in kept.values())
    return b"\xff" + zlib.compress(len(text).to_bytes(4, "little") + text + body, 9)


def unpack_rest(data: bytes, names: list[str]) -> tuple[dict[str, torch.dtype], dict[str, Tensor]]:
    """Return dtypes by name and kept tensors, the inverse of `pack_rest`.

    Args:
        data: Of `pack_rest`.
        names: Tensors that were compressed.

    Raises:
        CodecError: It cannot be read.
    """
    if not data:
        return dict.fromkeys(names, torch.float32), {}
    try:
        if len(data) == 1:
            return dict.fromkeys(names, FLOATS[data[0]]), {}
        return _unpack(data, names)
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError, zlib.error, RecursionError) as error:
        raise CodecError(f"what was kept beside the weights is damaged ({error}). Compress it again.") from None


def _unpack(data: bytes, names: list[str]) -> tuple[dict[str, torch.dtype], dict[str, Tensor]]:
    stream = zlib.decompressobj()
    plain = stream.decompress(data[1:], LARGEST)
    if not stream.eof:
        raise ValueError(f"more than {LARGEST} bytes, or cut off")
    start = 4 + int.from_bytes(plain[:4], "little")
    head = json.loads(plain[4:start])
    told = head["d"]
    dtypes = {name: FLOATS[told if isinstance(told, int) else told[name]] for name in names}
    kept = {}
    for name, code, shape in head["k"]:
        dtype = KEPT[code]
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        part = plain[start : start + size]
        if len(part) != size:
            raise ValueError(f"tensor {name!r} is cut off")
        flat = torch.frombuffer(bytearray(part), dtype=dtype) if size else torch.zeros(0, dtype=dtype)
        kept[str(name)] = flat.reshape(shape)
        start += size
    return dtypes, kept
