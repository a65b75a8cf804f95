"""Weights of a checkpoint as few bytes, and the same architecture's weights from them.

    version and scheme | check of the layout | check of what follows | length of the rest | rest | stream of the scheme

Names, shapes and order come from the graph and are not in the bytes. Integers, counters and tensors that the graph does
not hold are kept as they are, in the rest. Where a bit beside the scheme says that weights were foretold (see
`codec.prediction`), length and bytes of what foretells them come before the stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.codec.layout import Layout
from weightspace.decode.codec.prediction import Predictor, read_prediction
from weightspace.decode.codec.rest import FLOATS, pack_rest, unpack_rest
from weightspace.decode.codec.schemes import SCHEMES
from weightspace.decode.codec.schemes.scheme import Scheme
from weightspace.decode.codec.source import Behaviour, Source, added
from weightspace.decode.decoder import Decoder
from weightspace.errors import CodecError
from weightspace.execute.module import to_module
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.build import build_graph

VERSION, HEAD = 1, 7
"""Of the format, and bytes before what is checked."""

FORETOLD = 8
"""Bit of the first byte, beside version and scheme, that is set where weights were foretold."""

LEAST, MOST = 0.25, 16.0
"""Bits a weight that may be asked for."""

AUTO = ("rounding", "feedback", "distilled")
"""Schemes of which the best is taken where none is named; those that run networks only where they can be run."""


@dataclass(frozen=True)
class Compression:
    """How weights are compressed.

    Args:
        bits: A weight, from 0.25 to 16; every byte counts, checks and side information too.
        scheme: A name of `SCHEMES`; the best of several by default.
        inputs: Unlabelled inputs that networks are run on, `(inputs, ...)`; none are needed for weights alone. On
            their device the networks are run.
        seed: Of what is drawn at random.
        predictor: Foretells weights from the latent of their network. What is left of them is compressed too, and the
            bytes that lose less are taken; where these are of what is left, the decoder is needed to read them.
    """

    bits: float | int
    scheme: str | None = None
    inputs: Tensor | None = None
    seed: int = 0
    predictor: Predictor | None = None

    def __post_init__(self) -> None:
        if not LEAST <= self.bits <= MOST:
            raise CodecError(f"{self.bits} bits a weight cannot be had: ask for {LEAST} to {MOST:g}.")
        if self.scheme is not None and self.scheme not in SCHEMES:
            raise CodecError(f"there is no scheme {self.scheme!r}: name one of {list(SCHEMES)}, or none.")
        if self.scheme is not None and SCHEMES[self.scheme].needs_inputs and self.inputs is None:
            raise CodecError(f"the scheme {self.scheme!r} runs networks: pass inputs, or name another scheme.")

    @property
    def schemes(self) -> tuple[str, ...]:
        """Names of the schemes that are tried."""
        names = AUTO if self.scheme is None else (self.scheme,)
        return tuple(n for n in names if self.inputs is not None or not SCHEMES[n].needs_inputs)


def encode_weights(checkpoint: Checkpoint, compression: Compression) -> bytes:
    """Return the weights of a checkpoint in at most `compression.bits` a weight; `decode_weights` reads them.

    Raises:
        CodecError: A weight is not finite, there are none, the rate cannot be reached, or the network cannot be run
            on the inputs.
        DecoderError: The decoder of the predictor makes no such networks.
    """
    return encode_many([checkpoint], compression)[0]


def encode_many(checkpoints: Sequence[Checkpoint], compression: Compression) -> list[bytes]:
    """Return the bytes of networks of one architecture, encoded together: that is faster, and no bytes are shared.

    Raises:
        CodecError: As `encode_weights`, or the networks differ in architecture.
    """
    parts = [_Parts(checkpoint) for checkpoint in checkpoints]
    if any(part.layout != parts[0].layout for part in parts):
        raise CodecError("the networks differ in architecture. Encode one architecture at a time.")
    behaviour = _behaviour(checkpoints[0], compression)
    sources = [part.source(compression, behaviour) for part in parts]
    plain = _encode(sources, compression.schemes)
    if compression.predictor is None:
        return [part.joined(coded) for part, coded in zip(parts, plain, strict=True)]
    triples = zip(parts, sources, plain, strict=True)
    return [_foretold(part, source, coded, compression) for part, source, coded in triples]


@dataclass(frozen=True, eq=False)
class _Coded:
    """A stream, its scheme, and what foretells the weights that it leaves out; nothing where it leaves none out."""

    scheme: str
    stream: bytes
    foretelling: bytes = b""

    def loss(self, source: Source) -> float:
        return source.loss(SCHEMES[self.scheme].decode(self.stream, source.layout))


def _encode(sources: Sequence[Source], schemes: Sequence[str]) -> list[_Coded]:
    """The best stream of each network."""
    tried = [[_Coded(name, stream) for stream in SCHEMES[name].encode(sources)] for name in schemes]
    if len(tried) == 1:
        return tried[0]
    return [_best(source, coded) for source, coded in zip(sources, zip(*tried, strict=True), strict=True)]


def _best(source: Source, coded: Sequence[_Coded]) -> _Coded:
    return min(coded, key=lambda one: one.loss(source))


def _foretold(part: _Parts, source: Source, plain: _Coded, compression: Compression) -> bytes:
    """The bytes of one network: plain, or of what a prediction leaves of it where that loses less."""
    assert compression.predictor is not None
    prediction = compression.predictor.predict(part.checkpoint, part.graph, part.layout)
    side = part.joined(_Coded(plain.scheme, b"", prediction.data))
    budget = int(compression.bits * part.layout.weights) - 8 * len(side)
    rest = replace(source, foretold=prediction.matrices, budget=budget)
    try:
        (coded,) = _encode([rest], compression.schemes)
    except CodecError:  # too few bits are left
        return part.joined(plain)
    better = coded.loss(rest) < plain.loss(source)
    return part.joined(replace(coded, foretelling=prediction.data) if better else plain)


def _behaviour(checkpoint: Checkpoint, compression: Compression) -> Behaviour | None:
    if compression.inputs is None:
        return None
    module = to_module(checkpoint).float().to(compression.inputs.device)
    return Behaviour(module, compression.inputs)


class _Parts:
    """What of a checkpoint is compressed and what is kept."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.graph = checkpoint, build_graph(checkpoint)
        whole = Layout.of(self.graph)
        tensors = checkpoint.tensors
        places = tuple(p for p in whole.places if tensors[p.name].dtype in FLOATS)
        self.layout, self.whole = Layout(places), whole
        names = {place.name for place in places}
        self.rest = pack_rest(
            {name: tensors[name].dtype for name in sorted(names)},
            {name: t for name, t in tensors.items() if name not in names},
        )
        if not self.layout.weights:
            raise CodecError(f"{checkpoint.source}: holds no weights to compress.")
        lost = [name for name in checkpoint.non_finite if name in names]
        if lost:
            raise CodecError(
                f"{checkpoint.source}: {lost[:3]} hold values that are not finite, so they cannot be kept."
            )

    def source(self, compression: Compression, behaviour: Behaviour | None) -> Source:
        """Return what schemes are given: the budget less the bytes around the stream."""
        plain = {name: t.float() if t.dtype in FLOATS else t for name, t in self.checkpoint.tensors.items()}
        budget = int(compression.bits * self.layout.weights) - 8 * len(self.joined(_Coded("rounding", b"")))
        return Source(self.layout, plain, budget, behaviour, compression.seed)

    def joined(self, coded: _Coded) -> bytes:
        """Return all bytes."""
        told = coded.foretelling
        body = _varint(len(self.rest)) + self.rest + (_varint(len(told)) + told if told else b"") + coded.stream
        kind = VERSION << 4 | (FORETOLD if told else 0) | list(SCHEMES).index(coded.scheme)
        head = bytes([kind]) + self.whole.fingerprint.to_bytes(2, "little")
        return head + zlib.crc32(body).to_bytes(4, "little") + body


def scheme_of(data: bytes) -> str:
    """Return the name of the scheme that weights were compressed by."""
    return list(SCHEMES)[data[0] & 7]


def is_foretold(data: bytes) -> bool:
    """Return whether a decoder is needed to read weights."""
    return bool(data and data[0] & FORETOLD)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first; the eighth says that more follow."""
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


def decode_weights(data: bytes, graph: ParameterGraph, decoder: Decoder | None = None) -> dict[str, Tensor]:
    """Return the weights that `encode_weights` wrote, by tensor name, in their dtypes and shapes.

    Args:
        data: All bytes; nothing in them is run, and sizes come from the graph.
        graph: Of the architecture, as `build_graph` has it for the checkpoint that was encoded.
        decoder: That of the predictor by which the weights were foretold; not needed where they were not.

    Raises:
        CodecError: The bytes are damaged, of another version, of another architecture, or need another decoder.
    """
    return decode_layout(data, Layout.of(graph), graph, decoder)


def decode_layout(
    data: bytes, layout: Layout, graph: ParameterGraph | None = None, decoder: Decoder | None = None
) -> dict[str, Tensor]:
    """Return the weights of a layout, as `decode_weights` does; only foretold ones need graph and decoder.

    Raises:
        CodecError: As `decode_weights`.
    """
    scheme, body = _opened(data, layout)
    rest, stream = _cut(body)
    dtypes, kept = unpack_rest(rest, [p.name for p in layout.places])
    coded = Layout(tuple(p for p in layout.places if p.name not in kept))
    foretold = None
    if is_foretold(data):
        told, stream = _cut(stream)
        foretold = read_prediction(told, coded, graph, decoder)
    matrices = added(scheme.decode(stream, coded), foretold)
    found = {p.name: _tensor(p.stored(matrices[p.name]), dtypes[p.name]) for p in coded.places}
    for place in layout.places:
        if place.name in kept and tuple(kept[place.name].shape) != place.shape:
            raise CodecError(f"tensor {place.name!r}: {tuple(kept[place.name].shape)} was kept, not {place.shape}.")
    return found | kept


def _opened(data: bytes, layout: Layout) -> tuple[Scheme, bytes]:
    """Scheme and body of bytes whose checks hold."""
    if len(data) <= HEAD:
        raise CodecError(f"{len(data)} bytes are no compressed weights: they are cut off.")
    if data[0] >> 4 != VERSION or (data[0] & 7) >= len(SCHEMES):
        raise CodecError(
            f"these bytes are no compressed weights of version {VERSION}. Update weightspace, or compress again."
        )
    if data[1:3] != layout.fingerprint.to_bytes(2, "little"):
        raise CodecError(
            "these weights are of another architecture than the graph. Pass the graph they were encoded for."
        )
    body = data[HEAD:]
    if zlib.crc32(body).to_bytes(4, "little") != data[3:HEAD]:
        raise CodecError("the compressed weights are damaged (their check sum differs). Compress the checkpoint again.")
    return list(SCHEMES.values())[data[0] & 7], body


def _cut(body: bytes) -> tuple[bytes, bytes]:
    """A part whose length stands before it, and what follows."""
    size, start = _read_varint(body)
    if start + size > len(body):
        raise CodecError("the compressed weights are cut off. Compress the checkpoint again.")
    return body[start : start + size], body[start + size :]


def _read_varint(body: bytes) -> tuple[int, int]:
    """A number and where it ends."""
    number = 0
    for i, byte in enumerate(body[:5]):
        number |= (byte & 127) << 7 * i
        if byte < 128:
            return number, i + 1
    raise CodecError("the compressed weights are damaged (no length). Compress the checkpoint again.")


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """In the precision of the original; what a step leads beyond its range is its largest number."""
    info = torch.finfo(dtype)
    return torch.from_numpy(np.ascontiguousarray(array)).clamp(info.min, info.max).to(dtype)
