"""Principal components of each layer: two thin factors on grids in the place of a matrix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightspace.decode.codec.budget import fit
from weightspace.decode.codec.coder import SymbolReader
from weightspace.decode.codec.grid import read_sizes, round_to
from weightspace.decode.codec.layout import Layout, Matrices, Place
from weightspace.decode.codec.schemes.rounding import fineness, rms
from weightspace.decode.codec.schemes.scheme import Scheme, choose, each
from weightspace.decode.codec.source import Source
from weightspace.errors import CodecError

SHARES = (8, 16, 24, 32, 48)
"""Components that are kept, of every 64 that a matrix has; each is tried."""

PARTS = 64

Factors = list[tuple[np.ndarray, float]]
"""Matrices, each with the step that it takes where a relative step of one is asked for."""


def encode(source: Source) -> bytes:
    """Return the share of components that loses least, each share at the finest steps that fit.

    Raises:
        CodecError: No share fits.
    """
    parts = {p.name: _components(p, source.matrices[p.name]) for p in source.layout.places}
    streams = []
    for i, share in enumerate(SHARES):
        try:
            streams.append(_fit(source, list(_factors(source.layout, parts, share)), i))
        except CodecError:
            continue
    if not streams:
        raise CodecError(f"{source.budget} bits hold no share of the components: ask for more bits a weight.")
    return choose(source, streams, decode)


def _fit(source: Source, factors: Factors, share: int) -> bytes:
    body = fit(lambda d: [round_to(m, step * d) for m, step in factors], source.budget - 16)
    return bytes([share]) + body


def _components(place: Place, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if place.is_vector:
        return matrix, np.ones((1, 1))
    u, s, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return u * np.sqrt(s), np.sqrt(s)[:, None] * vt


def _factors(
    layout: Layout, parts: dict[str, tuple[np.ndarray, np.ndarray]], share: int
) -> Iterator[tuple[np.ndarray, float]]:
    for place in layout.places:
        left, right = parts[place.name]
        if place.is_vector:
            yield left, rms(left) * fineness(place)
            continue
        rank = _rank(place, share)
        scale = max(rms(left[:, :rank]), rms(right[:rank]))
        yield left[:, :rank], scale
        yield right[:rank], scale


def _rank(place: Place, share: int) -> int:
    return max(1, min(place.sizes) * share // PARTS)


def decode(data: bytes, layout: Layout) -> Matrices:
    """Return what `encode` wrote."""
    if not data or data[0] >= len(SHARES):
        raise CodecError("the compressed weights are damaged (no such share). Compress the checkpoint again.")
    share, sizes = SHARES[data[0]], []
    for place in layout.places:
        rows, columns = place.sizes
        rank = _rank(place, share)
        sizes += [(rows, columns)] if place.is_vector else [(rows, rank), (rank, columns)]
    grids = iter(read_sizes(SymbolReader(data[1:]), sizes))
    return {
        p.name: next(grids).matrix if p.is_vector else next(grids).matrix @ next(grids).matrix for p in layout.places
    }


SCHEME = Scheme(each(encode), decode)
