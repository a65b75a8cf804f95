"""Rows of a latent table by likeness and by property."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool

from weightspace.errors import TableError
from weightspace.latents.nearest import Metric, NearestRows
from weightspace.latents.table import LatentTable

Conditions = Sequence[tuple[str, str, Any]]


def meets(table: LatentTable, where: Conditions) -> Bool[np.ndarray, " rows"]:
    """Return which rows meet all conditions; a missing value meets none.

    Args:
        table: Of latents.
        where: Conditions such as `("test_accuracy", ">", 0.9)` or `("dataset", "==", "mnist")`.

    Raises:
        TableError: A column is missing, or a value does not go with it.
    """
    unknown = sorted({name for name, _, _ in where if name not in table.columns or name == "vector"})
    if unknown:
        raise TableError(f"no column {', '.join(unknown)} to filter by; there are {_filterable(table)}.")
    kept = np.ones(len(table), bool)
    for condition in where:
        number = pa.array(range(len(table)), pa.int64())
        try:
            column = table.data.select([condition[0]]).append_column("", number)
            found = column.filter(pq.filters_to_expression([condition]))[""]
        except (pa.ArrowException, ValueError, TypeError) as error:
            kind = table.data.schema.field(condition[0]).type
            said = f"condition {' '.join(map(str, condition))} does not fit its column, which holds {kind}"
            raise TableError(f"{said} ({str(error).splitlines()[0]}).") from None
        one = np.zeros(len(table), bool)
        one[found.to_numpy()] = True
        kept &= one
    return kept


def search(
    table: LatentTable,
    query: str | np.ndarray,
    *,
    k: int = 10,
    metric: Metric = "euclidean",
    where: Conditions = (),
) -> pd.DataFrame:
    """Return the rows that are nearest to a vector, or to a row of the table, exactly; ties in the order of rows.

    Args:
        table: Of latents.
        query: The id of a row, which is left out of its own list (its copies are not), or a vector.
        k: How many rows; fewer where fewer meet the conditions.
        metric: `euclidean`, or `cosine` for one less the cosine.
        where: Conditions that a row has to meet, as for `meets`.

    Returns:
        Columns `rank` (from 1), `row` (its number in the table), `id` and `distance`, nearest first.

    Raises:
        TableError: No such id, an id of several rows or of a row without a vector, a vector of another width, or a
            condition that does not fit.
    """
    among = meets(table, where) if where else None
    place = find_row(table, query) if isinstance(query, str) else -1
    vector = _vector(table, place) if isinstance(query, str) else query
    rows, distances = NearestRows(table, metric).find(
        np.atleast_2d(vector), k, among=among, apart=np.array([place], np.int64)
    )
    found = rows[0] >= 0
    rows, distances = rows[0][found], distances[0][found]
    ids = table.data["id"].take(pa.array(rows)).to_pandas()
    return pd.DataFrame({"rank": np.arange(1, len(rows) + 1), "row": rows, "id": ids, "distance": distances})


def neighbours(table: LatentTable, k: int = 5, *, metric: Metric = "euclidean") -> pd.DataFrame:
    """Return the `k` nearest other checkpoints of each, exactly.

    Rows whose input failed have no neighbours and are nobody's. Copies (distance zero) are kept: a row is left out of
    its own list alone.

    Args:
        table: Of latents.
        k: How many; fewer where the table holds fewer.
        metric: As for `search`.

    Returns:
        Columns `id, neighbour, rank` (from 1) and `distance`, each row's nearest first.

    Raises:
        TableError: `k` is below one, or fewer than two rows hold a vector.
    """
    rows = np.flatnonzero(table.fine)
    if k < 1 or len(rows) < 2:
        raise TableError(f"cannot find {k} neighbours among {len(rows)} latents; both numbers must be larger.")
    k = min(k, len(rows) - 1)
    found, distances = NearestRows(table, metric).find(table.vectors[rows], k, apart=rows)
    ids = table["id"]
    frame = {"id": np.repeat(ids[rows], k), "neighbour": ids[found].ravel()}
    return pd.DataFrame(frame | {"rank": np.tile(np.arange(1, k + 1), len(rows)), "distance": distances.ravel()})


def find_row(table: LatentTable, identity: str) -> int:
    """Return the number of the row of an id.

    Raises:
        TableError: There is none, there are several, or it holds no vector.
    """
    places = np.flatnonzero(meets(table, [("id", "==", identity)]))
    if len(places) != 1:
        known = ", ".join(map(str, table.data["id"][:3].to_pylist()))
        raise TableError(f"{len(places)} rows have the id {identity!r}; one was asked for. Ids are such as {known}.")
    if not table.data["vector"][int(places[0])].is_valid:
        raise TableError(f"row {identity!r} holds no vector: {table.data['error'][int(places[0])]}")
    return int(places[0])


def _vector(table: LatentTable, row: int) -> np.ndarray:
    return np.array(table.data["vector"][row].as_py(), np.float64)


def _filterable(table: LatentTable) -> str:
    return ", ".join(name for name in table.columns if name != "vector")
