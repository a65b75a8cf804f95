"""The header of a safetensors file, checked before any byte of it is believed. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo, is_shape
from weightspace.errors import CheckpointError

BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
LONGEST = 100_000_000
"""Bytes a header may have, as in the safetensors library."""
AGAIN = "Fetch or export the file again."

ReadBytes = Callable[[int, int], bytes]
"""`(start, stop) -> bytes`; fewer bytes where the file ends early."""


def read_safetensors_header(path: Path) -> Header:
    """Names, shapes, dtypes and metadata of a local safetensors file; no weight is read.

    Raises:
        CheckpointError: The header contradicts itself or the file; nothing of it is used.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)

        def read(start: int, stop: int) -> bytes:
            file.seek(start)
            return file.read(stop - start)

        return parse_safetensors_header(read, size, str(path))


def parse_safetensors_header(read: ReadBytes, size: int, source: str) -> Header:
    """The same through `read`, wherever the bytes are.

    Args:
        read: Gives the bytes from `start` to `stop`.
        size: Bytes of the whole file.
        source: What errors call it.

    Raises:
        CheckpointError: As above.

    Source:
        The safetensors format: 8 bytes little-endian length, JSON, data without holes.
    """
    if size < 8:
        raise CheckpointError(f"{source}: {size} bytes are too few for a safetensors file. {AGAIN}")
    length = int.from_bytes(read(0, 8), "little")
    if length > min(LONGEST, size - 8):
        raise CheckpointError(
            f"{source}: the header claims {length} bytes, the file has {size} and a header at most {LONGEST}. {AGAIN}"
        )
    text = read(8, 8 + length)
    if len(text) != length:
        raise CheckpointError(f"{source}: the header ends after {len(text)} of {length} bytes. {AGAIN}")
    entries = _decode(text, source)
    metadata = _metadata(entries.pop("__metadata__", {}), source)
    spans: list[tuple[int, int, str]] = []
    tensors = {name: _tensor(name, entry, spans, source) for name, entry in entries.items()}
    _check_spans(spans, size - 8 - length, source)
    return Header(tensors, metadata)


def _decode(text: bytes, source: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CheckpointError(f"{source}: the name {twice!r} stands twice in the header. {AGAIN}")
        return found

    try:
        decoded = text.decode("utf-8")
        entries = json.loads(decoded, object_pairs_hook=unique)
        if isinstance(entries, dict):
            "".join(entries).encode("utf-8")
    except UnicodeError as error:
        raise CheckpointError(f"{source}: a name in the header is not UTF-8 ({error}). {AGAIN}") from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{source}: the header is not JSON ({error}). {AGAIN}") from None
    if not isinstance(entries, dict):
        raise CheckpointError(f"{source}: the header is a {type(entries).__name__}, not an object. {AGAIN}")
    return entries


def _metadata(found: Any, source: str) -> Mapping[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CheckpointError(f"{source}: __metadata__ must hold text by key. {AGAIN}")
    return found


def _tensor(name: str, entry: Any, spans: list[tuple[int, int, str]], source: str) -> TensorInfo:
    where = f"{source}: tensor {name!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where}: an entry holds dtype, shape and data_offsets, this one does not. {AGAIN}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise CheckpointError(f"{where}: dtype {dtype!r} is not known; known are {', '.join(BITS)}. {AGAIN}")
    if not is_shape(shape):
        raise CheckpointError(f"{where}: no tensor has the shape {str(shape)[:80]}. {AGAIN}")
    if not is_shape(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{where}: data_offsets {str(offsets)[:80]} are not two positions. {AGAIN}")
    start, stop = offsets
    bits = prod(shape) * BITS[dtype]
    if bits != (stop - start) * 8:
        raise CheckpointError(
            f"{where}: {tuple(shape)} of {dtype} takes {bits / 8:g} bytes, the header gives it {stop - start}. {AGAIN}"
        )
    spans.append((start, stop, name))
    return TensorInfo(name, dtype, tuple(shape))


def _check_spans(spans: list[tuple[int, int, str]], size: int, source: str) -> None:
    """Tensors must fill the data from its first byte to its last, each byte once."""
    end = 0
    for start, stop, name in sorted(spans):
        if start != end:
            what = "overlaps the one before it" if start < end else f"leaves a hole of {start - end} bytes before it"
            raise CheckpointError(f"{source}: tensor {name!r} at byte {start} {what}. {AGAIN}")
        end = stop
    if end != size:
        what = "is truncated" if end > size else "has bytes that belong to no tensor"
        raise CheckpointError(f"{source}: the header places {end} bytes, the file holds {size}: it {what}. {AGAIN}")
