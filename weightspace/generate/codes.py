"""Properties of networks as numbers that a prior can be told, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from weightspace.errors import GeneratorError, TableError
from weightspace.latents.properties import read_property
from weightspace.latents.table import COLUMNS, LatentTable

FEW, MOST_NAMES, DECADES = 8, 64, 2.0
"""Numbers with so few values are names; names, at most; range of a positive number from which its logarithm counts."""
NOT_PROPERTIES = {*COLUMNS, "vector", "run", "seed", "shard", "group", "row", "parent", "split", "step", "node"}


@dataclass(frozen=True)
class Code:
    """How one property is written as numbers.

    Args:
        name: Of the property.
        names: Its values as text, one column each; empty where it is a number.
        mean: Of the number (of its logarithm, base 10), subtracted.
        spread: Its deviation, divided by.
        low: Least value seen.
        high: Largest value seen.
        logarithmic: Whether the logarithm is written.
    """

    name: str
    names: tuple[str, ...] = ()
    mean: float = 0.0
    spread: float = 1.0
    low: float = 0.0
    high: float = 0.0
    logarithmic: bool = False

    @property
    def columns(self) -> int:
        """Numbers that it takes."""
        return len(self.names) or 1

    def write(self, values: Sequence[Any]) -> Float32[np.ndarray, "rows columns"]:
        """Return the code of each value; a name that is not known is all zeros."""
        if self.names:
            texts = np.array([name_text(value) for value in values], object)
            return (texts[:, None] == np.array(self.names, object)).astype(np.float32)
        numbers = np.asarray(values, np.float64)
        scaled = np.log10(np.maximum(numbers, 1e-30)) if self.logarithmic else numbers
        return ((scaled - self.mean) / self.spread).astype(np.float32)[:, None]

    def read(self, codes: np.ndarray) -> np.ndarray:
        """Return the values that codes stand for, of a name the likeliest; the inverse of `write`."""
        if self.names:
            return np.array(self.names, object)[codes.argmax(1)]
        scaled = codes[:, 0].astype(np.float64) * self.spread + self.mean
        return 10**scaled if self.logarithmic else scaled


def name_text(value: object) -> str:
    """Return a value as the text that names it: 16 and 16.0 alike.

    Example:
        >>> [name_text(v) for v in (16, 16.0, "16", 0.25, True, "relu")]
        ['16', '16', '16', '0.25', 'True', 'relu']
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    try:
        return f"{float(str(value)):.6g}"
    except ValueError:
        return str(value)


def write_asked(
    asked: Mapping[str, np.ndarray], codes: Sequence[Code], count: int
) -> tuple[Float32[np.ndarray, "models columns"], Bool[np.ndarray, "models columns"]]:
    """Return the codes of what is asked, and which of their columns are asked for.

    Args:
        asked: Values by property, `count` each.
        codes: Of all properties, in order.
        count: Rows.
    """
    parts = [c.write(list(asked[c.name])) if c.name in asked else np.zeros((count, c.columns)) for c in codes]
    known = [np.full((count, c.columns), c.name in asked) for c in codes]
    if not codes:
        return np.zeros((count, 0), np.float32), np.zeros((count, 0), bool)
    return np.concatenate(parts, 1).astype(np.float32), np.concatenate(known, 1)


def read_codes(table: LatentTable, rows: np.ndarray, properties: Sequence[str] | None) -> list[Code]:
    """Return how properties of some rows are written.

    Args:
        table: Of latents with properties.
        rows: Which rows count, by index.
        properties: Columns; by default every one that is a number or a few names and not the same everywhere.

    Raises:
        GeneratorError: A named column is missing, unknown in some row, or the same everywhere.
    """
    wanted = [c for c in table.columns if c not in NOT_PROPERTIES] if properties is None else list(properties)
    found = []
    for name in wanted:
        try:
            found.append(_read_code(table, rows, name))
        except (GeneratorError, TableError) as error:
            if properties is not None:
                raise GeneratorError(f"cannot condition on {name!r}: {error}") from None
    return found


def _read_code(table: LatentTable, rows: np.ndarray, name: str) -> Code:
    known = read_property(table, name)
    if not known.known[rows].all():
        raise GeneratorError(f"{int((~known.known[rows]).sum())} of {len(rows)} rows have no value; leave them out.")
    values = known.values[rows]
    if len(set(values.tolist())) < 2:
        raise GeneratorError(f"it is {name_text(values[0])} in every row; leave it out.")
    if known.kind == "name" or len(set(values.tolist())) <= FEW:
        names = sorted({name_text(value) for value in values}, key=_natural)
        if len(names) > MOST_NAMES:
            raise GeneratorError(f"it has {len(names)} names, at most {MOST_NAMES} can be told apart.")
        return Code(name, tuple(names))
    low, high = float(values.min()), float(values.max())
    logarithmic = bool(low > 0 and np.log10(high / low) > DECADES)
    scaled = np.log10(values) if logarithmic else values
    return Code(name, (), float(scaled.mean()), float(scaled.std()), low, high, logarithmic)


def _natural(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
