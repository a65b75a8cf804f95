"""Traces that rounding leaves in weights: few levels, few bits, zeros."""

from __future__ import annotations

import numpy as np

BITS = (2, 3, 4, 5, 6, 7, 8)
ENOUGH, NEAR = 32, 0.06


def grid_bits(weights: np.ndarray) -> int | None:
    """Return the fewest bits on whose grid a matrix lies, or None if it lies on none of at most 8 bits.

    Grids tried: whole multiples of each output's largest number over `2^(bits - 1) - 1`, the same for the whole
    tensor, and `2^bits` even levels from the tensor's least number to its largest. A number is on the grid if it is
    within about a twentieth of a step of it, which leaves room for storage in half precision; on average by chance it
    is a quarter of a step away.

    Args:
        weights: `(out, ...)` of at least two dimensions and `ENOUGH` numbers, else None.

    Example:
        >>> fine = np.linspace(-1, 1, 101).reshape(1, -1) ** 3
        >>> grid_bits(np.rint(fine * 7) / 7), grid_bits(fine)
        (4, None)
    """
    if weights.ndim < 2 or weights.size < ENOUGH or not weights.any():
        return None
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    largest = np.abs(flat).max(1, keepdims=True)
    low, high = flat.min(), flat.max()
    for bits in BITS:
        half, whole = 2 ** (bits - 1) - 1, 2**bits - 1
        tries = [(flat, largest / half), (flat, largest.max() / half), (flat - low, (high - low) / whole)]
        if any(_lies_on(values, step) for values, step in tries):
            return bits
    return None


def _lies_on(values: np.ndarray, step: np.ndarray | float) -> bool:
    steps = values / np.where(np.asarray(step) > 0, step, 1.0)
    off = steps - np.rint(steps)
    return bool(np.sqrt(np.mean(off**2)) <= NEAR)


def network_bits(tensors: list[np.ndarray]) -> int | None:
    """Return the bits of the grid that all matrices of a network lie on, the largest if they differ; None if not all.

    Args:
        tensors: All that the network holds; those without a fan-in do not count.
    """
    matrices = [t for t in tensors if t.ndim > 1 and t.size >= ENOUGH and t.any()]
    found = [grid_bits(t) for t in matrices]
    known = [bits for bits in found if bits is not None]
    return max(known) if known and len(known) == len(found) else None


def stored_bits(tensors: list[np.ndarray]) -> int:
    """Return 16 if every number is one of half precision (float16), else 32.

    Example:
        >>> stored_bits([np.array([0.5, 0.25])]), stored_bits([np.array([1 / 3])])
        (16, 32)
    """
    with np.errstate(over="ignore"):
        halves = all(np.array_equal(t.astype(np.float16).astype(t.dtype), t) for t in tensors)
    return 16 if halves else 32
