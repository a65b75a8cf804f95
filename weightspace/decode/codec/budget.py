"""The finest grids that fit into a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from weightspace.decode.codec.coder import SymbolWriter
from weightspace.decode.codec.grid import Grid, write_grids
from weightspace.decode.codec.masses import LARGEST
from weightspace.errors import CodecError

FINEST, ROUNDS, TRIES = 2.0**-8, 3, 14
"""Octaves to which steps are found; rounds; tries where nothing fits."""


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
        size = _solve(make, budget - side, finest, coarsest)
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


def _solve(make: Make, bits: float, low: float, high: float) -> float:
    """Log2 of the finest steps that take so many bits: bits fall about evenly with it, so secants find it soon."""
    below, above = None, 0.0  # excess at `low` and `high`, once it is known
    guess = (low + high) / 2
    while high - low > FINEST:
        excess = entropy(make(2**guess)) - bits
        if excess > 0:
            low, below = guess, excess
        else:
            high, above = guess, excess
        guess = (low + high) / 2
        if below is not None and np.isfinite(below) and above < 0:
            share = below / (below - above)
            guess = low + (high - low) * min(max(share, 0.1), 0.9) if high - low > 4 * FINEST else guess
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
