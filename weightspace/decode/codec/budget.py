"""The finest grids that fit into a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from weightspace.decode.codec.coder import SymbolWriter
from weightspace.decode.codec.grid import Grid, write_grids
from weightspace.decode.codec.masses import LARGEST
from weightspace.errors import CodecError

HALVINGS, ROUNDS, TRIES = 11, 3, 14

SCATTERED = 16
"""Numbers are scattered where there are fewer than so many times their mean size: nearly all differ, and their entropy
says little; they take at least the bits of a uniform distribution."""

Make = Callable[[float], Sequence[Grid]]
"""From a size of steps, relative to whatever the scheme takes for one, to grids."""


def fit(make: Make, budget: int, *, finest: float = -16.0, coarsest: float = 6.0) -> bytes:
    """Return the stream of the finest grids of at most `budget` bits.

    Grids are weighed by the entropy of their numbers; what the stream takes beside it is measured, then tried again.

    Args:
        make: Larger steps must give fewer bits, about.
        budget: In bits.
        finest: Log2 of the finest steps to try.
        coarsest: Log2 of the coarsest ones.

    Raises:
        CodecError: Not even the coarsest grids fit.
    """
    side, best = 0.0, b""
    for _ in range(ROUNDS):
        size = _bisect(make, budget - side, finest, coarsest)
        grids = make(2**size)
        data = write(grids)
        if len(best) < len(data) <= budget / 8:
            best = data
        side = 8 * len(data) - entropy(grids)
        finest, coarsest = max(finest, size - 0.5), min(coarsest, size + 0.5)
    for i in range(TRIES):
        if best:
            return best
        data = write(make(2 ** (size + i * i / 10)))
        best = data if 8 * len(data) <= budget else b""
    raise CodecError(f"{budget} bits hold no more than the steps of the tensors: ask for more bits a weight.")


def _bisect(make: Make, bits: float, low: float, high: float) -> float:
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if entropy(make(2**middle)) > bits:
            low = middle
        else:
            high = middle
    return high


def write(grids: Sequence[Grid]) -> bytes:
    """Return the stream of grids."""
    writer = SymbolWriter()
    write_grids(writer, grids)
    return writer.getvalue()


def entropy(grids: Sequence[Grid]) -> float:
    """Return the entropies of grids times their sizes, in bits; infinite where a number is too large to be written."""
    return sum(_entropy(grid.values.ravel()) for grid in grids)


def _entropy(values: Int64[np.ndarray, " count"]) -> float:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if max(-low, high) > LARGEST:
        return float("inf")
    counts = np.bincount(values - low)
    shares = counts[counts > 0] / len(values) if len(values) else np.ones(1)
    bits = -float(shares @ np.log2(shares)) * len(values)
    mean = float(np.abs(values).mean()) if len(values) else 0.0
    scattered = SCATTERED * mean > len(values)
    return max(bits, len(values) * float(np.log2(4 * mean))) if scattered and mean > 1 else bits
