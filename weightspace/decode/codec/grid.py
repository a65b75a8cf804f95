"""Matrices of whole numbers times a step, in few bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from weightspace.decode.codec.coder import SymbolReader, SymbolWriter, symbol_bits
from weightspace.decode.codec.layout import Layout

FINE, OCTAVES = 32, 80
"""Steps in an octave, and octaves of steps."""

LOWEST = 50
"""The smallest step is 2^-50."""

CLASSES = 8
FEWEST = 64
"""Most classes of rows of like size, and weights that a class must hold on average."""

SIDE = 10.0
"""About the bits that a step takes."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A matrix on a grid: `values * step_of(step)`.

    Args:
        values: Whole numbers, `(rows, columns)`.
        step: Index of the step.
    """

    values: Int64[np.ndarray, "rows columns"]
    step: int

    @property
    def matrix(self) -> Float[np.ndarray, "rows columns"]:
        """The matrix itself."""
        return self.values * self.size

    @property
    def size(self) -> float:
        """The step itself."""
        return step_of(self.step)


def step_of(index: int) -> float:
    """Return the step of an index, 2^(index / 32 - 50).

    Example:
        >>> step_of(1600), step_of(1568)
        (1.0, 0.5)
    """
    octave, part = divmod(index, FINE)
    return float(np.ldexp(2.0 ** (part / FINE), octave - LOWEST))


def nearest_step(step: float) -> int:
    """Return the index of the step nearest to a size."""
    return int(np.clip(round(FINE * (np.log2(max(step, 1e-300)) + LOWEST)), 0, FINE * OCTAVES - 1))


def round_to(matrix: Float[np.ndarray, "rows columns"], step: float) -> Grid:
    """Return the nearest points of the grid whose step is nearest to a size."""
    index = nearest_step(step)
    return Grid(np.rint(matrix / step_of(index)).astype(np.int64), index)


def grid_bits(values: Int64[np.ndarray, "rows columns"]) -> float:
    """Return about how many bits a grid takes."""
    return SIDE + _classify(values)[1]


def write_grids(writer: SymbolWriter, grids: Iterable[Grid]) -> None:
    """Write grids, each after the one before."""
    before = LOWEST
    for grid in grids:
        any_values = bool(grid.values.any())
        writer.number(any_values, 2)
        if not any_values:
            continue
        octave, part = divmod(grid.step, FINE)
        writer.move(octave, before, OCTAVES)
        writer.number(part, FINE)
        before = octave
        _write_rows(writer, grid.values)


def read_grids(reader: SymbolReader, layout: Layout) -> dict[str, Grid]:
    """Return the grids of a layout's tensors, written in its order."""
    return dict(zip((p.name for p in layout.places), read_sizes(reader, [p.sizes for p in layout.places]), strict=True))


def read_sizes(reader: SymbolReader, sizes: Iterable[tuple[int, int]]) -> list[Grid]:
    """Return grids of given rows and columns."""
    before, found = LOWEST, []
    for rows, columns in sizes:
        if not reader.number(2):
            found.append(Grid(np.zeros((rows, columns), np.int64), 0))
            continue
        before = reader.move(before, OCTAVES)
        step = before * FINE + reader.number(FINE)
        found.append(Grid(_read_rows(reader, rows, columns), step))
    return found


def _write_rows(writer: SymbolWriter, values: Int64[np.ndarray, "rows columns"]) -> None:
    classes, _ = _classify(values)
    count = int(classes.max()) + 1
    most = _most(*values.shape)
    if most > 1:
        writer.number(count.bit_length() - 1, 4)
    if count > 1:
        writer.numbers(classes, count)
    for i in range(count):
        writer.symbols(values[classes == i].ravel())


def _read_rows(reader: SymbolReader, rows: int, columns: int) -> Int64[np.ndarray, "rows columns"]:
    count = 2 ** reader.number(4) if _most(rows, columns) > 1 else 1
    classes = reader.numbers(rows, count) if count > 1 else np.zeros(rows, np.int64)
    values = np.zeros((rows, columns), np.int64)
    for i in range(count):
        here = np.flatnonzero(classes == i)
        values[here] = reader.symbols(len(here) * columns).reshape(len(here), columns)
    return values


def _classify(values: Int64[np.ndarray, "rows columns"]) -> tuple[Int64[np.ndarray, " rows"], float]:
    """Class of each row by its mean magnitude, in as many classes as pay, and the bits of it all."""
    rows, _ = values.shape
    best = np.zeros(rows, np.int64), symbol_bits(values.ravel())
    if _most(*values.shape) == 1:
        return best
    order = np.abs(values).mean(1).argsort(kind="stable").argsort(kind="stable")
    count = 2
    while count <= _most(*values.shape):
        classes = order * count // rows
        bits = rows * np.log2(count) + sum(symbol_bits(values[classes == i].ravel()) for i in range(count))
        if bits >= best[1]:
            break
        best = classes, bits
        count *= 2
    return best


def _most(rows: int, columns: int) -> int:
    """Classes that a matrix may have at most: a power of two."""
    fit = min(rows * columns // FEWEST, rows, CLASSES)
    return 1 if fit < 2 else 2 ** (fit.bit_length() - 1)
