"""Latents of many checkpoints with where they came from; Parquet in and out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from weightspace.checkpoint.whole import replacing
from weightspace.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

ENCODER, GRAPH = b"weightspace.encoder", b"weightspace.graph_version"
COLUMNS = {
    "id": pa.string(),
    "path": pa.string(),
    "sha256": pa.string(),
    "weights": pa.int64(),
    "understood": pa.float64(),
    "free_units": pa.int64(),
    "nonfinite": pa.int64(),
    "error": pa.string(),
}


@dataclass(frozen=True, eq=False)
class LatentTable:
    """One row a checkpoint, all from one encoder. Never changes once built.

    Columns: `id`; `path`; `sha256` of the content; `weights` (how many numbers); `understood` (their share, 0 to 1);
    `free_units` (how many units may be relabelled);
    `nonfinite` (how many weights are NaN or infinite; they count as zero in the vector); `vector` (`float32[latent]`,
    null where the input failed); `error` (empty where fine); and any others.

    Args:
        data: An arrow table with these columns and the encoder's id and the graph's version in its metadata.

    Raises:
        TableError: A column, the encoder's id or the graph's version is missing, or the vectors are of no fixed size.
    """

    data: pa.Table

    def __post_init__(self) -> None:
        missing = [name for name in (*COLUMNS, "vector") if name not in self.data.column_names]
        if missing:
            raise TableError(f"the table has no column {', '.join(missing)}; was it written by `weightspace embed`?")
        metadata = self.data.schema.metadata or {}
        if ENCODER not in metadata or GRAPH not in metadata:
            raise TableError("the table does not say which encoder and which graph version its latents are from.")
        kind = self.data.schema.field("vector").type
        if not pa.types.is_fixed_size_list(kind) or not pa.types.is_float32(kind.value_type):
            raise TableError(f"column 'vector' holds {kind}; it must be a list of float32 of one fixed size.")

    @classmethod
    def from_rows(
        cls, rows: Sequence[Mapping[str, Any]], *, encoder: str, graph_version: int, latent: int
    ) -> LatentTable:
        """Return the table of rows by column name; a missing value is null, a missing `error` empty.

        Args:
            rows: One mapping a checkpoint; `vector` a sequence of `latent` numbers or None.
            encoder: Id of the encoder.
            graph_version: Of the parameter graphs.
            latent: Length of a vector.
        """
        fields = [pa.field(name, kind) for name, kind in COLUMNS.items()]
        fields.insert(7, pa.field("vector", pa.list_(pa.float32(), latent)))
        schema = pa.schema(fields, {ENCODER: encoder.encode(), GRAPH: str(graph_version).encode()})
        columns = {f.name: [row.get(f.name) for row in rows] for f in fields}
        columns["error"] = [error or "" for error in columns["error"]]
        return cls(pa.table([pa.array(columns[f.name], f.type) for f in fields], schema=schema))

    @property
    def encoder(self) -> str:
        """Id of the encoder that made the vectors."""
        return self.data.schema.metadata[ENCODER].decode()

    @property
    def graph_version(self) -> int:
        """Version of the parameter graphs that were encoded."""
        return int(self.data.schema.metadata[GRAPH])

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return list(self.data.column_names)

    def __len__(self) -> int:
        return self.data.num_rows

    def __getitem__(self, column: str) -> np.ndarray:
        """Return a column as an array; `vector` as `vectors`."""
        if column not in self.columns:
            raise TableError(f"the table has no column {column!r}; it has {', '.join(self.columns)}.")
        return self.vectors if column == "vector" else self.data[column].to_numpy()

    @property
    def vectors(self) -> Float32[np.ndarray, "rows latent"]:
        """All vectors; NaN in the rows whose input failed."""
        column = self.data["vector"].combine_chunks()
        size = column.type.list_size
        found = np.full((len(self), size), np.nan, np.float32)
        found[self.fine] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
        return found

    @property
    def fine(self) -> np.ndarray:
        """Which rows hold a vector."""
        return self.data["vector"].is_valid().to_numpy()

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a data frame, one array a vector."""
        return self.data.to_pandas()

    def assign(self, columns: Mapping[str, Sequence[Any]]) -> LatentTable:
        """Return the table with further columns, or others of the same name.

        Args:
            columns: A value a row each; None is null.

        Raises:
            TableError: A column is one that every table has, or has another length.
        """
        data = self.data
        for name, values in columns.items():
            if name in (*COLUMNS, "vector"):
                raise TableError(f"column {name!r} says where latents come from and cannot be replaced.")
            if len(values) != len(self):
                raise TableError(f"column {name!r} has {len(values)} values, the table {len(self)} rows.")
            data = data.drop_columns(name) if name in data.column_names else data
            data = data.append_column(name, pa.array(values))
        return LatentTable(data)

    def append(self, other: LatentTable) -> LatentTable:
        """Return both tables' rows, these first."""
        return concat_tables([self, other])

    def to_parquet(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a Parquet file: wholly or not at all.

        Raises:
            TableError: The file is there already and `overwrite` is not set, or it cannot be written.
        """
        write_output(path, lambda draft: pq.write_table(self.data, draft), overwrite=overwrite)

    @classmethod
    def read_parquet(cls, path: str | os.PathLike[str]) -> LatentTable:
        """Return the table that a Parquet file holds.

        Raises:
            TableError: The file cannot be read, or holds no latents.
        """
        try:
            return cls(pq.read_table(path))
        except TableError as error:
            raise TableError(f"{path}: {error}") from None
        except (OSError, pa.ArrowException) as error:
            raise TableError(f"{path}: cannot be read as Parquet ({error}).") from error


def concat_tables(tables: Iterable[LatentTable]) -> LatentTable:
    """Return the rows of all tables, in order; a column that only some have is null in the others.

    Raises:
        TableError: There is no table, two were made by different encoders or of different graph versions, or columns
            of one name hold different types.
    """
    found = list(tables)
    if not found:
        raise TableError("there is no table to concatenate.")
    for table in found[1:]:
        mine, theirs = ((t.encoder, t.graph_version) for t in (found[0], table))
        if mine != theirs:
            raise TableError(
                f"encoder {theirs[0]!r} (graph version {theirs[1]}) does not go with {mine[0]!r} (graph version "
                f"{mine[1]}): their vectors cannot be compared. Embed one of them again."
            )
    try:
        merged = pa.concat_tables([t.data for t in found], promote_options="default")
    except pa.ArrowException as error:
        raise TableError(f"columns of the tables do not go together ({error}); rename or drop one of them.") from None
    return LatentTable(merged.replace_schema_metadata(found[0].data.schema.metadata))


def write_output(path: str | os.PathLike[str], write: Callable[[Path], object], *, overwrite: bool) -> None:
    """Let `write` make the file: wholly or not at all.

    Raises:
        TableError: The file is there already and `overwrite` is not set, or it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise TableError(f"{path} is there already; pass overwrite=True (--force) to replace it.")
    try:
        with replacing(path) as draft:
            write(draft)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror or error}).") from error
