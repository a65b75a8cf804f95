"""A compressed checkpoint as a file that stands alone: what the graph would tell, then the bytes of the codec.

"WSZ1" | length of the head | head, zlib of JSON: tensors, metadata, ties | bytes of `encode_weights`
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import is_shape
from weightspace.checkpoint.save import refuse_existing
from weightspace.checkpoint.whole import replacing
from weightspace.decode.codec.codec import Compression, decode_layout, encode_weights
from weightspace.decode.codec.layout import Layout, Place
from weightspace.errors import CodecError
from weightspace.graph.build import build_graph

MAGIC = b"WSZ1"

LARGEST = 2**26
"""Bytes of a head once it is unpacked, at most."""

DENSEST = 2**16
"""Weights that a byte may stand for: a small file must not fill the memory."""


def pack_checkpoint(checkpoint: Checkpoint, compression: Compression) -> tuple[bytes, bytes]:
    """Return the head of a file and the bytes of its weights; the head is no part of the bits that are asked for.

    Raises:
        CodecError: As `encode_weights`, or a predictor is given: its decoder would be needed to read the file.
    """
    if compression.predictor is not None:
        raise CodecError("a file stands alone, so no decoder may foretell its weights: leave the predictor out.")
    layout = Layout.of(build_graph(checkpoint))
    told = {
        "tensors": [[p.name, p.kind, p.shape, p.rows] for p in layout.places],
        "metadata": dict(checkpoint.metadata),
        "shared": dict(checkpoint.shared),
        "left_out": dict(checkpoint.left_out),
    }
    head = zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 9)
    return MAGIC + len(head).to_bytes(4, "little") + head, encode_weights(checkpoint, compression)


def unpack_checkpoint(data: bytes, source: str = "memory") -> Checkpoint:
    """Return the checkpoint that a file holds.

    Raises:
        CodecError: It is no such file, damaged or cut off, or claims more weights than its size allows.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError(f"{source}: is no compressed checkpoint. Name a file that `weightspace compress` wrote.")
    stop = 8 + int.from_bytes(data[4:8], "little")
    try:
        told = _read_head(data[8:stop])
        layout = Layout(tuple(_place(entry) for entry in told["tensors"]))
        about = {key: _texts(told[key]) for key in ("metadata", "shared", "left_out")}
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, zlib.error) as error:
        raise CodecError(f"{source}: its head is damaged ({error}). Compress the checkpoint again.") from None
    if layout.weights > DENSEST * len(data):
        raise CodecError(f"{source}: {len(data)} bytes cannot hold {layout.weights} weights; the file is not sound.")
    try:
        tensors = decode_layout(data[stop:], layout)
    except CodecError as error:
        raise CodecError(f"{source}: {error}") from None
    return Checkpoint(tensors, about["metadata"], source, about["shared"], about["left_out"])


def _read_head(data: bytes) -> dict[str, Any]:
    stream = zlib.decompressobj()
    plain = stream.decompress(data, LARGEST)
    if not stream.eof:
        raise ValueError("too long, or cut off")
    told = json.loads(plain)
    if not isinstance(told, dict):
        raise ValueError("no table")
    return told


def _place(entry: Any) -> Place:
    name, kind, shape, rows = entry
    if not (isinstance(name, str) and isinstance(kind, str) and is_shape(shape)):
        raise ValueError(f"tensor {name!r} of shape {shape}")
    dims = range(len(shape))
    if not all(type(d) is int and d in dims for d in rows) or len(set(rows)) != len(rows):
        raise ValueError(f"tensor {name!r}: rows {rows}")
    return Place(name, kind, tuple(shape), tuple(rows))


def _texts(table: Any) -> Mapping[str, str]:
    if not isinstance(table, dict) or not all(isinstance(text, str) for pair in table.items() for text in pair):
        raise ValueError("a text is missing")
    return table


def write_compressed(path: str | os.PathLike[str], parts: tuple[bytes, bytes], *, overwrite: bool = False) -> None:
    """Write the parts of `pack_checkpoint`; the file is there whole or not at all.

    Raises:
        CheckpointError: The file exists.
        CodecError: It cannot be written.
    """
    target = Path(path)
    refuse_existing(target, overwrite)
    try:
        with replacing(target) as draft:
            draft.write_bytes(b"".join(parts))
    except OSError as error:
        raise CodecError(f"{target}: cannot be written ({error.strerror}). Choose another folder.") from None


def read_compressed(path: str | os.PathLike[str]) -> Checkpoint:
    """Return the checkpoint of a file that `write_compressed` wrote.

    Raises:
        CodecError: As `unpack_checkpoint`, or the file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror}). Name a file that is there.") from None
    return unpack_checkpoint(data, str(path))
