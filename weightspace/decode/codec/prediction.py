"""Weights foretold by a decoder, so that only what is left of them need be written.

    hash of the decoder | step and numbers of the latent | share of each tensor | order of the units of each axis

A decoder knows units only up to their order, so that its weights are relabelled to those of the network, and the order
is written: log2(n!) bits for n units. What a decoder foretells is added after all numbers are read, so that devices
that round differently give weights that differ by as little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.codec.coder import SymbolReader, SymbolWriter
from weightspace.decode.codec.layout import Layout, Matrices
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import FARTHEST
from weightspace.decode.target import Target
from weightspace.encode.encoder import Encoder
from weightspace.errors import CodecError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.align import match_units
from weightspace.graph.symmetry.orders import parent_sizes
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.trace.program import Program

STEPS = (1.0, 2.0, 4.0, 2 * FARTHEST + 1)
"""To which a latent is rounded, in deviations of its numbers; the last leaves the mean of all latents."""

SHARES = 16
"""Eighths of what is foretold that a tensor may take, from none."""

HASH = 4
"""Bytes that tell one decoder from another."""

Orders = Mapping[str, Int64[np.ndarray, "..."]]


@dataclass(frozen=True, eq=False)
class Predictor:
    """What foretells weights: an encoder that sums a network up, and a decoder of its latents.

    Raises:
        DecoderError: The decoder knows another encoder.
    """

    decoder: Decoder
    encoder: Encoder

    def __post_init__(self) -> None:
        self.decoder.check_encoder(self.encoder.id)

    def predict(self, checkpoint: Checkpoint, graph: ParameterGraph, layout: Layout) -> Prediction:
        """Return what is foretold of a network, of the step that is expected to save most.

        Args:
            checkpoint: The network.
            graph: Of it.
            layout: Of the tensors that are compressed.

        Raises:
            DecoderError: The decoder makes no networks for such inputs or classes.
        """
        program = checkpoint.metadata.get("architecture")
        if program is not None:
            self.decoder.check_architecture(Program.from_json(program))
        whole = {p.name: p.matrix(checkpoint.tensors[p.name].double().numpy()) for p in layout.places}
        network = self.decoder.network
        vector = self.encoder.encode(checkpoint).vector.to(network.mean)
        far = ((vector - network.mean) / network.spread).clamp(-FARTHEST, FARTHEST).double().cpu().numpy()
        tried = []
        for index, step in enumerate(STEPS):
            numbers = np.rint(far / step).astype(np.int64)
            made = _decode(self.decoder, graph, numbers * step)
            orders = {axis: order.numpy() for axis, order in match_units(made, checkpoint, graph).items()}
            found = _matrices(relabel(made, graph, orders), layout)
            shares = [_share(whole[p.name], found[p.name]) for p in layout.places]
            data = _write(self.decoder, (index, numbers), shares, [orders[axis] for axis, _ in _axes(graph)])
            tried.append(Prediction(data, whole, _shared(found, shares)))
        return max(tried, key=lambda prediction: prediction.gain)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is foretold of a network.

    Args:
        data: Bytes that say it to whoever holds the decoder.
        whole: The weights of the network, by tensor name.
        matrices: What is foretold of them.
    """

    data: bytes
    whole: Matrices
    matrices: Matrices

    @property
    def gain(self) -> float:
        """Bits that are expected to be saved, less those of `data`; of normal weights at a high rate."""
        powers = [(m.size, _power(m), _power(m - self.matrices[name])) for name, m in self.whole.items()]
        return sum(n / 2 * math.log2(p / max(q, p * 1e-9)) for n, p, q in powers if p) - 8 * len(self.data)

    @property
    def explained(self) -> float:
        """Share of the squares of all weights that is gone from what is left."""
        left = sum(_power(m - self.matrices[name]) * m.size for name, m in self.whole.items())
        return 1 - left / max(sum(_power(m) * m.size for m in self.whole.values()), 1e-300)


def read_prediction(data: bytes, layout: Layout, graph: ParameterGraph | None, decoder: Decoder | None) -> Matrices:
    """Return what `Predictor.predict` has foretold.

    Args:
        data: Of the prediction.
        layout: Of the tensors that were compressed.
        graph: Of the network; needed with the decoder.
        decoder: Of the predictor.

    Raises:
        CodecError: The decoder is missing or another one, or the bytes are damaged.
    """
    wanted = data[:HASH]
    if decoder is None or _hash(decoder) != wanted:
        given = "none was passed" if decoder is None else f"this is {decoder.id}"
        raise CodecError(
            f"the weights were foretold by a decoder whose id ends in @{wanted.hex()}; {given}. Pass that decoder."
        )
    assert graph is not None
    reader = SymbolReader(data[HASH:])
    step = STEPS[reader.number(len(STEPS))]
    numbers = reader.symbols(decoder.network.config.latent)
    shares = reader.numbers(len(layout.places), SHARES).tolist()
    orders = {axis: _read_orders(reader, shape) for axis, shape in _axes(graph)}
    made = relabel(_decode(decoder, graph, numbers * step), graph, orders)
    return _shared(_matrices(made, layout), shares)


def _decode(decoder: Decoder, graph: ParameterGraph, far: np.ndarray) -> Checkpoint:
    """The network of a latent, given in deviations from the mean of all latents."""
    network = decoder.network
    vector = network.mean + network.spread * torch.from_numpy(far).to(network.mean)
    with torch.no_grad():
        found = network(vector[None], replace(Target.of(graph), inputs=decoder.inputs))
    return Checkpoint({name: t[0].float().cpu() for name, t in found.items()})


def _matrices(made: Checkpoint, layout: Layout) -> Matrices:
    return {p.name: p.matrix(made.tensors[p.name].double().numpy()) for p in layout.places}


def _share(whole: np.ndarray, found: np.ndarray) -> int:
    """Eighths of what is foretold that leave least of the weights."""
    best = 8 * float(np.vdot(whole, found)) / max(float(np.vdot(found, found)), 1e-300)
    return int(np.clip(round(best), 0, SHARES - 1))


def _shared(found: Matrices, shares: list[int]) -> Matrices:
    return {name: m * (share / 8) for (name, m), share in zip(found.items(), shares, strict=True)}


def _power(matrix: np.ndarray) -> float:
    return float(np.square(matrix).mean()) if matrix.size else 0.0


def _hash(decoder: Decoder) -> bytes:
    return bytes.fromhex(decoder.id.rpartition("@")[2])


def _write(decoder: Decoder, latent: tuple[int, np.ndarray], shares: list[int], orders: list[np.ndarray]) -> bytes:
    writer = SymbolWriter()
    writer.number(latent[0], len(STEPS))
    writer.symbols(latent[1])
    writer.numbers(np.array(shares, np.int64), SHARES)
    for order in orders:
        for row in order.reshape(-1, order.shape[-1]).tolist():
            for place, left in _places(row):
                writer.number(place, left)
    return _hash(decoder) + writer.getvalue()


def _places(row: list[int]) -> Iterator[tuple[int, int]]:
    """Place of each unit among those that have not come yet, and how many those are."""
    rest = sorted(row)
    for unit in row[:-1]:
        yield rest.index(unit), len(rest)
        rest.remove(unit)


def _read_orders(reader: SymbolReader, shape: tuple[int, ...]) -> np.ndarray:
    rows = []
    for _ in range(math.prod(shape[:-1])):
        rest = list(range(shape[-1]))
        rows.append([rest.pop(reader.number(len(rest))) for _ in rest[1:]] + rest)
    return np.array(rows, np.int64).reshape(shape)


def _axes(graph: ParameterGraph) -> list[tuple[str, tuple[int, ...]]]:
    """Axes whose units have an order, and the shape of their orders."""
    found = [axis for axis in graph.axes.values() if axis.role == "hidden" and axis.size > 1]
    return [(axis.name, (*parent_sizes(graph, axis.name), axis.size)) for axis in found]
