"""Distributions of whole numbers that peak at zero, each named by three small indices.

    mass(k) ~ exp(-(1 - t) sqrt(2) |k| / s - t k^2 / (2 s^2)) for k != 0,  mass(0) ~ boost

From double exponential (`t = 0`) to normal (`t = 1`), with a zero of its own, as rounding with a dead zone leaves it.
Computed by additions, multiplications and divisions alone, which IEEE 754 rounds alike everywhere: the decoder must
arrive at the very same numbers as the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float64, Int64

EIGHTHS = (
    1.0,
    1.0905077326652577,
    1.189207115002721,
    1.2968395546510096,
    1.4142135623730951,
    1.5422108254079407,
    1.681792830507429,
    1.8340080864093424,
)
"""Powers of two by eighths of an octave, written out: `pow` differs in its last bit from machine to machine."""

SCALES, SHAPES, BOOSTS = 80, 4, 8
"""Number of scales (a quarter of an octave apart, from 2^-4), of shapes, of boosts (half an octave apart, from 1/4)."""

LARGEST = 2**15 - 1
"""Largest number that can be written."""

LEAST = 2.0**-24
"""Smallest mass that the range coder gives a symbol."""


@dataclass(frozen=True)
class Masses:
    """One distribution over `-largest .. largest`.

    Args:
        scale: Index of the scale, `0 .. SCALES - 1`.
        shape: Index of the shape, `0 .. SHAPES - 1`.
        boost: Index of the mass of zero, `0 .. BOOSTS - 1`.
    """

    scale: int
    shape: int
    boost: int

    def table(self, largest: int) -> Float64[np.ndarray, " symbols"]:
        """Return the masses of `-largest .. largest`, of sum one up to rounding.

        Example:
            >>> masses = Masses(16, 0, 4).table(1)
            >>> bool(masses[0] == masses[2] < masses[1]), round(float(masses.sum()), 12)
            (True, 1.0)
        """
        side = _side(self.scale, self.shape, largest)
        half = np.concatenate([[_octave(self.boost - BOOSTS // 2, 2)], side])
        total = half[0] + 2 * float(np.cumsum(side)[-1])
        return np.concatenate([side[::-1], half]) / total


def fit_masses(counts: Int64[np.ndarray, " magnitudes"]) -> tuple[Masses, float]:
    """Return a distribution that writes numbers of these magnitudes in few bits, and the bits that takes.

    Scale, shape and scale again are searched one by one, each with the best mass of zero.

    Args:
        counts: How many numbers are 0, how many are 1 or -1, and so on to the largest there is.
    """
    largest = len(counts) - 1
    seen = np.flatnonzero(counts)
    weights = counts[seen].astype(np.float64)
    moment = float((weights * seen).sum() / weights.sum())
    middle = min(max(round(4 * (float(np.log2(moment + 0.05)) + 4)), 0), SCALES - 1)
    zeros = np.array([_octave(boost - BOOSTS // 2, 2) for boost in range(BOOSTS)])[:, None]
    best = (Masses(middle, 1, BOOSTS // 2), np.inf)
    for reach, shapes in ((range(-5, 8), [1]), (range(1), range(SHAPES)), (range(-2, 3), [-1])):
        scale, shape = best[0].scale, best[0].shape
        for i, j in product(reach, shapes):
            here = Masses(min(max(scale + i, 0), SCALES - 1), shape if j < 0 else j, 0)
            side = _side(here.scale, here.shape, largest)
            masses = np.where(seen == 0, zeros, side[seen - 1]) / (zeros + 2 * side.sum())
            bits = -np.log2(np.maximum(masses, LEAST)) @ weights
            boost = int(bits.argmin())
            if bits[boost] < best[1]:
                best = (replace(here, boost=boost), float(bits[boost]))
    return best


def _octave(index: int, parts: int) -> float:
    """Return 2^(index / parts) for `parts` that divides eight."""
    whole, rest = divmod(index * (8 // parts), 8)
    return float(np.ldexp(EIGHTHS[rest], whole))


@lru_cache(maxsize=4096)
def _side(scale: int, shape: int, largest: int) -> Float64[np.ndarray, " magnitudes"]:
    """Masses of 1 .. largest before they are scaled."""
    s, t = _octave(scale - 16, 4), shape / (SHAPES - 1)
    first = _exp((1 - t) * EIGHTHS[4] / s)
    step = _exp(t / (2 * s * s))
    growth = np.full(largest, step * step)
    growth[:1] = step
    return np.cumprod(np.cumprod(growth) * first)


def _exp(x: float) -> float:
    """Return exp(-x) for x >= 0, 0 where it is too small to count."""
    if x > 600:
        return 0.0
    term = total = 1.0
    for i in range(1, 16):
        term *= x / 64 / 64 / i
        total += term
    for _ in range(12):
        total *= total
    return 1 / total
