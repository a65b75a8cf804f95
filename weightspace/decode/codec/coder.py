"""Whole numbers into one range-coded stream and back: nothing is written beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from jaxtyping import Int64

from weightspace.decode.codec.masses import BOOSTS, LARGEST, SCALES, SHAPES, Masses, fit_masses
from weightspace.errors import CodecError

WIDTHS = LARGEST.bit_length() + 1


@final
class SymbolWriter:
    """Collects numbers; what is written first is read first."""

    def __init__(self) -> None:
        from constriction import stream

        self._coder = stream.queue.RangeEncoder()
        self._before = Masses(SCALES // 4, 1, BOOSTS // 2)

    def number(self, value: int, size: int) -> None:
        """Write one of `0 .. size - 1`, all alike in length."""
        self._coder.encode(int(value), _uniform(size))

    def move(self, value: int, before: int, size: int) -> None:
        """Write one of `0 .. size - 1` that is likely near `before`."""
        self._coder.encode(int(value), _near(before, size))

    def numbers(self, values: Int64[np.ndarray, " count"], size: int) -> None:
        """Write many of `0 .. size - 1`, all alike in length."""
        if len(values):
            self._coder.encode(values.astype(np.int32), _uniform(size))

    def symbols(self, values: Int64[np.ndarray, " count"]) -> None:
        """Write numbers that peak at zero, with the distribution that fits them best."""
        width = _width(values)
        self.number(width, WIDTHS)
        if not width:
            return
        masses, _ = fit_masses(_magnitudes(values, width))
        for value, before, size in _indices(masses, self._before):
            self.move(value, before, size)
        self._before = masses
        self._coder.encode((values + 2**width - 1).astype(np.int32), _categorical(masses, width))

    def getvalue(self) -> bytes:
        """Return all that was written; zeros at the end are left out."""
        return self._coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")


@final
class SymbolReader:
    """Reads what a `SymbolWriter` wrote, call for call.

    Args:
        data: Of `SymbolWriter.getvalue`.
    """

    def __init__(self, data: bytes) -> None:
        from constriction import stream

        padded = data + bytes(-len(data) % 4 + 8)
        self._coder = stream.queue.RangeDecoder(np.frombuffer(padded, "<u4").astype(np.uint32))
        self._before = Masses(SCALES // 4, 1, BOOSTS // 2)

    def number(self, size: int) -> int:
        """Read one of `0 .. size - 1`."""
        with _decoding():
            return int(self._coder.decode(_uniform(size)))

    def move(self, before: int, size: int) -> int:
        """Read one of `0 .. size - 1` that is likely near `before`."""
        with _decoding():
            return int(self._coder.decode(_near(before, size)))

    def numbers(self, count: int, size: int) -> Int64[np.ndarray, " count"]:
        """Read many of `0 .. size - 1`."""
        if not count:
            return np.zeros(0, np.int64)
        with _decoding():
            return self._coder.decode(_uniform(size), count).astype(np.int64)

    def symbols(self, count: int) -> Int64[np.ndarray, " count"]:
        """Read numbers that peak at zero."""
        width = self.number(WIDTHS)
        if not width:
            return np.zeros(count, np.int64)
        masses = Masses(*(self.move(before, size) for _, before, size in _indices(self._before, self._before)))
        self._before = masses
        with _decoding():
            return self._coder.decode(_categorical(masses, width), count).astype(np.int64) - (2**width - 1)


def symbol_bits(values: Int64[np.ndarray, " count"]) -> float:
    """Return about how many bits `SymbolWriter.symbols` takes for these numbers."""
    width = _width(values)
    return 4.0 if not width else 12.0 + fit_masses(_magnitudes(values, width))[1]


def _width(values: Int64[np.ndarray, " count"]) -> int:
    largest = int(np.abs(values).max(initial=0))
    if largest > LARGEST:
        raise CodecError(f"a weight of {largest} steps cannot be written, {LARGEST} at most: take larger steps.")
    return largest.bit_length()


def _magnitudes(values: Int64[np.ndarray, " count"], width: int) -> Int64[np.ndarray, " magnitudes"]:
    return np.bincount(np.abs(values), minlength=2**width)


def _indices(masses: Masses, before: Masses) -> Iterator[tuple[int, int, int]]:
    yield masses.scale, before.scale, SCALES
    yield masses.shape, before.shape, SHAPES
    yield masses.boost, before.boost, BOOSTS


def _uniform(size: int) -> Any:
    from constriction import stream

    return stream.model.Uniform(max(size, 2))


def _near(before: int, size: int) -> Any:
    """Half the chance of the last step for each further one."""
    from constriction import stream

    return stream.model.Categorical(1 / (1.0 + np.abs(np.arange(size) - before)) ** 2, perfect=False)


def _categorical(masses: Masses, width: int) -> Any:
    from constriction import stream

    return stream.model.Categorical(masses.table(2**width - 1), perfect=False)


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except (AssertionError, ValueError, OverflowError) as error:
        raise CodecError(f"the compressed weights are damaged ({error}). Compress the checkpoint again.") from None
