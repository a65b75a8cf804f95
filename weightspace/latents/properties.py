"""A property of a table's rows, ready to be told from their vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from weightspace.errors import TableError
from weightspace.latents.table import LatentTable

RUN = "run"
"""The column that says which rows belong together, such as the snapshots of one training."""


@dataclass(frozen=True, eq=False)
class Property:
    """One column as numbers or names.

    Args:
        column: Its name.
        kind: `number` or `name`; text, true and false are names.
        values: Numbers in double precision, or strings; a value a row of the table.
        known: Which rows have a value that is not NaN or infinite.
    """

    column: str
    kind: Literal["number", "name"]
    values: np.ndarray
    known: np.ndarray


def read_property(table: LatentTable, column: str) -> Property:
    """Return a column as a property.

    Raises:
        TableError: There is no such column, it holds neither numbers nor names, or no row has a value.
    """
    if column not in table.columns or column == "vector":
        others = ", ".join(name for name in table.columns if name != "vector")
        raise TableError(f"the table has no property {column!r}; it has {others}.")
    data = table.data[column]
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    there = data.is_valid().to_numpy()
    if pa.types.is_integer(data.type) or pa.types.is_floating(data.type) or pa.types.is_null(data.type):
        values = data.cast(pa.float64()).to_numpy(zero_copy_only=False)
        found = Property(column, "number", values, there & np.isfinite(values))
    elif pa.types.is_boolean(data.type) or pa.types.is_string(data.type) or pa.types.is_large_string(data.type):
        names = np.array([str(value) for value in data.to_pylist()], object)
        found = Property(column, "name", names, there)
    else:
        raise TableError(f"column {column!r} holds {data.type}; a property is a number or a name.")
    if not found.known.any():
        raise TableError(f"column {column!r} has no value in any of {len(table)} rows.")
    return found


def read_groups(table: LatentTable) -> np.ndarray | None:
    """Return the number of each row's run, or None where the table does not say; a row without one is its own."""
    if RUN not in table.columns:
        return None
    data = table.data[RUN]
    data = data.cast(data.type.value_type) if pa.types.is_dictionary(data.type) else data
    names = [f"row {i}" if name is None else f"run {name}" for i, name in enumerate(data.to_pylist())]
    return np.unique(names, return_inverse=True)[1]
