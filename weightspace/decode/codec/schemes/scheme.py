"""What a scheme is: weights to a stream, and the stream to weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weightspace.decode.codec.coder import SymbolReader
from weightspace.decode.codec.grid import read_grids
from weightspace.decode.codec.layout import Layout, Matrices
from weightspace.decode.codec.source import Source


@dataclass(frozen=True)
class Scheme:
    """One way to compress weights.

    Args:
        encode: From networks of one architecture, to a stream for each.
        decode: From a stream and the layout to the matrices that it holds.
        needs_inputs: Whether networks must be run for it.
    """

    encode: Callable[[Sequence[Source]], list[bytes]]
    decode: Callable[[bytes, Layout], Matrices]
    needs_inputs: bool = False


def each(encode: Callable[[Source], bytes]) -> Callable[[Sequence[Source]], list[bytes]]:
    """Return an encoder of many networks from one of a single network."""
    return lambda sources: [encode(source) for source in sources]


def decode_grids(data: bytes, layout: Layout) -> Matrices:
    """Return the matrices of a stream that holds one grid a tensor."""
    return {name: grid.matrix for name, grid in read_grids(SymbolReader(data), layout).items()}


def choose(source: Source, streams: Sequence[bytes], decode: Callable[[bytes, Layout], Matrices]) -> bytes:
    """Return the stream that loses least."""
    if len(streams) == 1:
        return streams[0]
    return min(streams, key=lambda data: source.loss(decode(data, source.layout)))
