"""Arguments of a program's operations as JSON, and small constant tensors as text."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from weightspace.errors import ArchitectureError

MOST_PACKED = 2**26
_FLOATS = MappingProxyType({"inf": math.inf, "-inf": -math.inf, "nan": math.nan})


@dataclass(frozen=True)
class Ref:
    """A slot or the result of a node; `item` counts the results of an operation that has several."""

    name: str
    item: int | None = None


@final
class Literals:
    """Dtypes that a program may name."""

    dtypes: ClassVar[Mapping[str, torch.dtype]] = MappingProxyType(
        {
            str(dtype).removeprefix("torch."): dtype
            for dtype in (
                torch.float64,
                torch.float32,
                torch.float16,
                torch.bfloat16,
                torch.float8_e4m3fn,
                torch.float8_e5m2,
                torch.int64,
                torch.int32,
                torch.int16,
                torch.int8,
                torch.uint8,
                torch.bool,
                torch.complex64,
                torch.complex128,
            )
        }
    )


def references(item: Any) -> Iterator[Ref]:
    """Yield every reference inside nested arguments, left to right."""
    if isinstance(item, Ref):
        yield item
    elif isinstance(item, tuple | list):
        for part in item:
            yield from references(part)


def write_literal(item: Any) -> Any:
    """Return an argument as JSON values; `read_literal` is the inverse.

    Example:
        >>> write_literal((Ref("x"), 2, torch.float32, float("-inf")))
        [{'ref': 'x'}, 2, {'dtype': 'float32'}, {'float': '-inf'}]
    """
    match item:
        case Ref(name, None):
            return {"ref": name}
        case Ref(name, index):
            return {"ref": name, "item": index}
        case torch.dtype():
            return {"dtype": str(item).removeprefix("torch.")}
        case tuple() | list():
            return [write_literal(part) for part in item]
        case float() if not math.isfinite(item):
            return {"float": str(item)}
    return item


def read_literal(item: Any) -> Any:
    """Return the argument that JSON values stand for; lists become tuples.

    Raises:
        ArchitectureError: It is none of number, text, list, reference or dtype.
    """
    match item:
        case None | bool() | int() | float() | str():
            return item
        case list():
            return tuple(read_literal(part) for part in item)
        case {"ref": str(name), "item": int(index), **rest} if not rest:
            return Ref(name, index)
        case {"ref": str(name), **rest} if not rest:
            return Ref(name)
        case {"dtype": str(name), **rest} if not rest and name in Literals.dtypes:
            return Literals.dtypes[name]
        case {"float": str(name), **rest} if not rest and name in _FLOATS:
            return _FLOATS[name]
    raise ArchitectureError(f"program: {str(item)[:80]} is not an argument that an operation may have.")


def pack(tensor: Tensor) -> str:
    """Return the numbers of a small tensor as text, compressed; empty text where it would be too long."""
    if tensor.device.type == "meta" or tensor.nbytes > MOST_PACKED:
        return ""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return base64.b64encode(zlib.compress(flat.view(torch.uint8).numpy().tobytes(), 6)).decode("ascii")


def unpack(text: str, shape: tuple[int, ...], dtype: str) -> Tensor:
    """Return the tensor that `pack` wrote.

    Raises:
        ArchitectureError: The text does not hold exactly that many numbers.
    """
    kind = Literals.dtypes[dtype]
    size = math.prod(shape) * kind.itemsize
    try:
        packed = base64.b64decode(text, validate=True)
        raw = zlib.decompressobj().decompress(packed, size + 1) if size <= MOST_PACKED else b""
    except (ValueError, zlib.error):
        raw = b""
    if len(raw) != size:
        raise ArchitectureError(
            f"program: a constant does not hold {list(shape)} numbers of {dtype}. Capture it again."
        )
    if not size:
        return torch.zeros(shape, dtype=kind)
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(kind).reshape(shape)
