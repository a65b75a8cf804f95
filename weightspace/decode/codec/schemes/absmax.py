"""Plain absolute-maximum quantisation: one scale a written unit, numbers of fixed length, no entropy coding."""

from __future__ import annotations

import numpy as np

from weightspace.decode.codec.coder import SymbolReader, SymbolWriter
from weightspace.decode.codec.layout import Layout, Matrices
from weightspace.decode.codec.schemes.scheme import Scheme, each
from weightspace.decode.codec.source import Source
from weightspace.errors import CodecError

MOST = 16
"""Bits of a number, at most."""


def encode(source: Source) -> bytes:
    """Return numbers of as many bits as fit; of one bit, they are signs and the scale is the mean magnitude.

    Raises:
        CodecError: Not even signs fit.
    """
    for bits in range(MOST, 0, -1):
        if (data := _write(source, bits)) and 8 * len(data) <= source.budget:
            return data
    raise CodecError(f"{source.budget} bits do not hold one a weight and the scales: ask for more bits a weight.")


def _write(source: Source, bits: int) -> bytes:
    writer = SymbolWriter()
    writer.number(bits - 1, MOST)
    for matrix in source.matrices.values():
        size = np.abs(matrix)
        scale = (size.mean(1) if bits == 1 else size.max(1, initial=0)).astype(np.float16)
        writer.numbers(scale.view(np.uint16).astype(np.int64), 2**16)
        wide = np.maximum(scale.astype(np.float64), 1e-12)[:, None]
        writer.numbers(_numbers(matrix / wide, bits).ravel(), 2**bits)
    return writer.getvalue()


def _numbers(matrix: np.ndarray, bits: int) -> np.ndarray:
    top = _top(bits)
    if bits == 1:
        return (matrix >= 0).astype(np.int64)
    return np.clip(np.rint(matrix * top), -top, top).astype(np.int64) + top


def _top(bits: int) -> int:
    return max(2 ** (bits - 1) - 1, 1)


def decode(data: bytes, layout: Layout) -> Matrices:
    """Return what `encode` wrote."""
    reader = SymbolReader(data)
    bits = reader.number(MOST) + 1
    found = {}
    for place in layout.places:
        rows, columns = place.sizes
        scale = reader.numbers(rows, 2**16).astype(np.uint16).view(np.float16).astype(np.float64)
        numbers = reader.numbers(rows * columns, 2**bits).reshape(rows, columns)
        units = 2.0 * numbers - 1 if bits == 1 else (numbers - _top(bits)) / _top(bits)
        found[place.name] = units * scale[:, None]
    return found


SCHEME = Scheme(each(encode), decode)
