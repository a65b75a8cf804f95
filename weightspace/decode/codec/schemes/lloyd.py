"""Entropy-constrained Lloyd quantisation: rows, tensors or the network over a scale, levels shared by the network.

Levels and their probabilities are fitted to the scaled weights under a price for bits: a weight takes the level of
least `(w - level)^2 + price * bits(level)`, a level moves to the mean of its weights, until the budget is met.

Source: Chou, Lookabaugh and Gray (1989), "Entropy-constrained vector quantization", of dimension one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int64

from weightspace.decode.codec.coder import SymbolReader, SymbolWriter
from weightspace.decode.codec.grid import FINE, OCTAVES, nearest_step, step_of
from weightspace.decode.codec.layout import Layout, Matrices
from weightspace.decode.codec.schemes.rounding import rms
from weightspace.decode.codec.schemes.scheme import Scheme, choose, each
from weightspace.decode.codec.source import Source
from weightspace.errors import CodecError

LEVELS, SAMPLE = 2**12, 2**16
"""Most levels, and scaled weights that they are fitted to."""

ROUNDS, HALVINGS = 25, 12

Levels = Float[np.ndarray, " levels"]
Scales = Mapping[str, Int64[np.ndarray, " rows"]]


def encode(source: Source) -> bytes:
    """Return what loses less: scales of rows, of tensors or of the network.

    Raises:
        CodecError: The scales alone do not fit.
    """
    streams = [data for data in (_fit(source, scales) for scales in _scales(source)) if data]
    if not streams:
        raise CodecError(f"{source.budget} bits do not hold the scales: ask for more bits a weight.")
    return choose(source, streams, decode)


def _fit(source: Source, scales: Scales) -> bytes | None:
    scaled = {
        name: m / np.array([step_of(int(i)) for i in scales[name]])[:, None] for name, m in source.matrices.items()
    }
    every = np.concatenate([m.ravel() for m in scaled.values()])
    some = every[:: max(1, len(every) // SAMPLE)].astype(np.float64)
    low, high, best = -24.0, 4.0, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        data = _write(scaled, scales, *_levels(some, 2**middle), price=2**middle)
        if 8 * len(data) > source.budget:
            low = middle
        else:
            high, best = middle, data
    return best


def _scales(source: Source) -> list[Scales]:
    """Indices of the scales of all rows: their own, those of their tensors, that of the network."""
    tensors = {name: np.full(len(m), nearest_step(rms(m))) for name, m in source.matrices.items()}
    flat = [p for p in source.layout.places if not p.is_vector]
    mean = round(float(np.mean([tensors[p.name][0] for p in flat or source.layout.places])))
    wide = tensors | {p.name: np.full(p.sizes[0], mean) for p in flat}
    rows = {name: np.array([nearest_step(rms(row)) for row in m]) for name, m in source.matrices.items()}
    return [tensors, rows, wide] if source.behaviour else [tensors, rows]


def _levels(weights: Float[np.ndarray, " weights"], price: float) -> tuple[Levels, Levels]:
    """Return levels and what each costs in bits."""
    wide = float(np.abs(weights).max(initial=1e-3))
    levels = np.arange(-LEVELS // 2 + 1, LEVELS // 2) * max(np.sqrt(price) * 2, wide / (LEVELS // 2 - 1))
    levels = levels[np.abs(levels) <= wide + levels[-1] - levels[-2]]
    costs = np.zeros(len(levels))
    for _ in range(ROUNDS):
        nearest = _assign(weights, levels, costs, price)
        counts = np.bincount(nearest, minlength=len(levels))
        sums = np.bincount(nearest, weights, minlength=len(levels))
        kept = counts > 0
        levels, costs = sums[kept] / counts[kept], -np.log2(counts[kept] / len(weights))
    levels = levels.astype(np.float16).astype(np.float64)
    return levels, costs


def _assign(weights: np.ndarray, levels: Levels, costs: Levels, price: float) -> Int64[np.ndarray, " weights"]:
    """Best of the three levels nearest to each weight, and of the cheapest one."""
    near = np.searchsorted(levels, weights)
    options = np.stack([*(np.clip(near + i, 0, len(levels) - 1) for i in (-2, -1, 0, 1)), 0 * near + costs.argmin()])
    return options[(np.square(weights - levels[options]) + price * costs[options]).argmin(0), np.arange(len(weights))]


def _write(scaled: Matrices, scales: Scales, levels: Levels, costs: Levels, *, price: float) -> bytes:
    writer, zero = SymbolWriter(), int(costs.argmin())
    writer.number(len(levels) - 1, LEVELS)
    writer.number(zero, LEVELS)
    writer.numbers(levels.astype(np.float16).view(np.uint16).astype(np.int64), 2**16)
    for name, matrix in scaled.items():
        shared = int(len(set(scales[name].tolist())) == 1)
        writer.number(shared, 2)
        writer.numbers(scales[name][:1] if shared else scales[name], FINE * OCTAVES)
        writer.symbols(_assign(matrix.ravel().astype(np.float64), levels, costs, price) - zero)
    return writer.getvalue()


def decode(data: bytes, layout: Layout) -> Matrices:
    """Return what `encode` wrote."""
    reader = SymbolReader(data)
    count, zero = reader.number(LEVELS) + 1, reader.number(LEVELS)
    levels = reader.numbers(count, 2**16).astype(np.uint16).view(np.float16).astype(np.float64)
    found = {}
    for place in layout.places:
        rows, columns = place.sizes
        indices = reader.numbers(1 if reader.number(2) else rows, FINE * OCTAVES)
        scale = np.array([step_of(int(i)) for i in indices])[:, None]
        which = np.clip(reader.symbols(rows * columns) + zero, 0, count - 1)
        found[place.name] = levels[which].reshape(rows, columns) * scale
    return found


SCHEME = Scheme(each(encode), decode)
