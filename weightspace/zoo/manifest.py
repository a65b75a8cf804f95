"""The manifest of a population: a row a checkpoint, in Parquet; and files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from weightspace.checkpoint.whole import replacing
from weightspace.errors import ZooError

MANIFEST = "manifest.parquet"
PLACES = ("id", "shard", "group", "row", "sha256", "architecture")  # columns of every manifest
_ROW_GROUP = 65_536  # rows that a filter looks at, and holds in memory, at a time
_UNIQUE = ("id", "sha256", "parent")  # columns of text that hardly repeats


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name and move it into place, so that it is there whole or not at all.

    Raises:
        ZooError: The disk is full or the folder cannot be written; what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            write(draft)
    except (OSError, SafetensorError) as error:
        raise ZooError(
            f"{path}: cannot be written ({error}). What was finished is kept; make room and start again."
        ) from error


def as_table(rows: pd.DataFrame) -> pa.Table:
    """Rows as Arrow: numbers in 32 bits, repeating text as a dictionary."""
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    for i, field in enumerate(table.schema):
        column = table[field.name]
        if pa.types.is_float64(field.type):
            table = table.set_column(i, field.name, column.cast(pa.float32()))
        elif (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)) and field.name not in _UNIQUE:
            table = table.set_column(i, field.name, column.cast(pa.string()).dictionary_encode())
        elif pa.types.is_large_string(field.type) or pa.types.is_null(field.type):
            table = table.set_column(i, field.name, column.cast(pa.string()))
    return table


def write_manifest(folder: Path, table: pa.Table) -> None:
    """Write the manifest of a population, whole.

    Raises:
        ZooError: The disk is full; the manifest that was there stays.
    """
    whole = table.combine_chunks().unify_dictionaries()
    write_whole(
        folder / MANIFEST, lambda draft: pq.write_table(whole, draft, compression="zstd", row_group_size=_ROW_GROUP)
    )


def filter_rows(
    manifest: pq.ParquetFile, columns: list[str], where: Sequence[tuple[str, str, Any]]
) -> Iterator[pa.Table]:
    """Rows that meet all conditions, a row group at a time: first its conditions, then what they leave of it."""
    condition = pq.filters_to_expression(list(where))
    for i in range(manifest.num_row_groups):
        looked_at = manifest.read_row_group(i, columns=sorted({name for name, _, _ in where}))
        numbered = looked_at.append_column("", pa.array(range(len(looked_at)), pa.int64()))
        kept = numbered.filter(condition)[""]
        if len(kept) or i == 0:
            yield manifest.read_row_group(i, columns=columns).take(kept)
