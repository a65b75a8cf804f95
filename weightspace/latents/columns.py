"""What a map shows of each row: columns as names, numbers or text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weightspace.errors import TableError
from weightspace.latents.table import LatentTable

HIDDEN = ("id", "vector", "x", "y")
NAMES, FEW = 256, 12
MISSING = "(none)"


@dataclass(frozen=True, eq=False)
class Column:
    """One property of each row.

    Args:
        name: Of the column.
        kind: `names` (a few, each on many rows), `numbers` or `text` (of each row its own).
        values: Ranks of names (the commonest 0), numbers with NaN where there is none, or strings.
        names: By rank; empty where the kind is another.
        constant: Whether all rows have the same, so that colours would tell nothing.
    """

    name: str
    kind: Literal["names", "numbers", "text"]
    values: np.ndarray
    names: tuple[str, ...] = ()
    constant: bool = False


def read_columns(table: LatentTable) -> list[Column]:
    """Return every column of a table but ids and vectors; what is no number, name or text is shown as text."""
    return [_read(name, table.data[name]) for name in table.columns if name not in HIDDEN]


def colour_column(table: LatentTable, name: str) -> Column:
    """Return the column that colours a map.

    Raises:
        TableError: There is no such column, or it is text, or all rows have the same.
    """
    can = [c for c in read_columns(table) if c.kind != "text" and not c.constant]
    found = next((c for c in can if c.name == name), None)
    if found is None:
        why = "no column" if name not in table.columns else "nothing to tell rows apart in the column"
        raise TableError(f"cannot colour by {name!r}: the table has {why}; take {', '.join(c.name for c in can)}.")
    return found


def _read(name: str, data: pa.ChunkedArray) -> Column:
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    numbers = _numbers(data)
    if numbers is not None:
        known = numbers[np.isfinite(numbers)]
        return Column(name, "numbers", numbers, constant=not len(known) or bool((known == known[0]).all()))
    texts = _texts(data)
    counts = sorted(pc.value_counts(texts).to_pylist(), key=lambda c: (-c["counts"], c["values"]))
    if len(counts) > FEW and len(counts) > min(NAMES, len(texts) // 2):
        return Column(name, "text", np.array(texts.to_pylist(), object))
    names = tuple(c["values"] for c in counts)
    ranks = pc.index_in(texts, pa.array(names)).to_numpy()
    return Column(name, "names", ranks.astype(np.int64), names, constant=len(names) < 2)


def _numbers(data: pa.ChunkedArray) -> np.ndarray | None:
    """Every value as a number, NaN where there is none; None for what is no number, or too long for one."""
    if not (pa.types.is_integer(data.type) or pa.types.is_floating(data.type)):
        return None
    try:
        return data.cast(pa.float64()).to_numpy().astype(np.float64)
    except pa.ArrowInvalid:  # a whole number that a float64 cannot hold, such as a seed
        return None


def _texts(data: pa.ChunkedArray) -> pa.Array:
    """Every value as text, the missing ones as such."""
    if pa.types.is_boolean(data.type):
        data = pc.if_else(data, "yes", "no")
    try:
        data = data.cast(pa.string())
    except pa.ArrowException:  # a list or a struct
        data = pa.chunked_array([[None if value is None else str(value) for value in data.to_pylist()]], pa.string())
    return pc.replace_substring_regex(data.fill_null(MISSING), "^$", MISSING).combine_chunks()
