"""Networks added to a population, and populations brought together: all of them or none."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file
from torch import Tensor

from weightspace.errors import ZooError
from weightspace.zoo.manifest import MANIFEST, as_table, write_manifest, write_whole
from weightspace.zoo.store import ARCHITECTURES, SHARDS, Population, hash_tensors


@dataclass(frozen=True, eq=False)
class Part:
    """Equal networks on their way into a population.

    Args:
        rows: A row a network; `id` and `run` at least.
        tensors: Stacked, `(models, ...)` by name.
        architecture: What they are: at least `shapes`; `family`, `options` and `signature` where they can be rebuilt.
    """

    rows: pd.DataFrame
    tensors: Mapping[str, Tensor]
    architecture: Mapping[str, Any]


def describe_shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Return the shapes of one network of a stack, by name."""
    return {name: list(tensor.shape[1:]) for name, tensor in tensors.items()}


def append_parts(folder: str | Path, shard: str, parts: Sequence[Part]) -> Population:
    """Add networks to a population, which is begun if it is not there; all of them or none.

    Args:
        folder: The population.
        shard: Name of the file for their weights; a new one.
        parts: Equal networks each.

    Raises:
        ZooError: An id or the shard is there already, a column is of another type there, or the disk is full; the
            population stays as it was.
    """
    folder = Path(folder)
    tables: list[pa.Table] = []
    tensors: dict[str, Tensor] = {}
    known: dict[str, Any] = {}
    for number, part in enumerate(parts):
        group = f"{number:04d}"
        kind = hashlib.sha256(json.dumps(part.architecture, sort_keys=True).encode()).hexdigest()[:12]
        known[kind] = dict(part.architecture)
        tensors |= {f"{group}/{name}": tensor.contiguous() for name, tensor in part.tensors.items()}
        each = [hash_tensors({n: t[i] for n, t in part.tensors.items()}) for i in range(len(part.rows))]
        where: dict[str, Any] = {"shard": shard, "group": group, "row": range(len(part.rows)), "sha256": each}
        tables.append(as_table(part.rows.assign(**where, architecture=kind)))
    begun = _read_manifest(folder)
    if begun is not None and shard in set(begun["shard"].to_pylist()):
        raise ZooError(f"{folder}: the shard {shard} is there already; name a new one.")
    table = _join(folder, [*([] if begun is None else [begun]), *tables])
    write_whole(folder / SHARDS / shard, lambda path: save_file(tensors, path))
    try:
        return _write(folder, table, known)
    except ZooError:
        (folder / SHARDS / shard).unlink(missing_ok=True)
        raise


def merge_populations(folder: str | Path, others: Sequence[Population]) -> Population:
    """Bring populations together in a new or existing one; all of them or none.

    Shards are copied as they are, under the hash of their content.

    Raises:
        ZooError: An id is in two of them, a column is of another type in one, a shard is missing, or the disk is full;
            the folder holds what it held.
    """
    folder, begun = Path(folder), _read_manifest(Path(folder))
    tables = [table for other in others if (table := _read_manifest(other.folder)) is not None]
    _join(folder, [*([] if begun is None else [begun]), *tables])
    architectures: dict[str, Any] = {}
    new: list[Path] = []
    try:
        for i, other in enumerate(others):
            column = tables[i]["shard"].to_pylist()
            names = {name: _copy_shard(other.folder / SHARDS / name, folder, new) for name in sorted(set(column))}
            renamed = pa.array([names[name] for name in column]).dictionary_encode()
            tables[i] = tables[i].set_column(tables[i].column_names.index("shard"), "shard", renamed)
            architectures |= other.architectures
        return _write(folder, _join(folder, [*([] if begun is None else [begun]), *tables]), architectures)
    except ZooError:
        for path in new:
            path.unlink(missing_ok=True)
        raise


def _read_manifest(folder: Path) -> pa.Table | None:
    return pq.read_table(Population(folder).folder / MANIFEST) if (folder / MANIFEST).exists() else None


def _copy_shard(path: Path, folder: Path, new: list[Path]) -> str:
    """Copy a shard under the hash of its content, and note it in `new` if it was not there."""
    try:
        with path.open("rb") as file:
            name = f"{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}.safetensors"
    except OSError as error:
        raise ZooError(f"{path}: missing or not readable ({error}); fetch or build the population again.") from error
    there = folder / SHARDS / name
    if not there.exists():
        new.append(there)
    write_whole(there, lambda draft: shutil.copyfile(path, draft))
    return name


def _join(folder: Path, tables: Sequence[pa.Table]) -> pa.Table:
    """All rows; a column that one of the tables lacks is empty there."""
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ZooError(f"{folder}: the columns do not fit together ({error}); give both the same types.") from error
    ids = table["id"]
    if len(ids.unique()) < len(ids):
        repeated = ids.value_counts().to_pylist()
        twice = [entry["values"] for entry in repeated if entry["counts"] > 1]
        raise ZooError(f"{folder}: ids {twice[:3]} are there already; every checkpoint needs its own id.")
    return table


def _write(folder: Path, table: pa.Table, architectures: Mapping[str, Any]) -> Population:
    """Write the architectures, then the manifest: rows appear only when all that they name is there."""
    if (folder / MANIFEST).exists():
        architectures = Population(folder).architectures | dict(architectures)
    text = json.dumps(architectures, indent=1, sort_keys=True)
    write_whole(folder / ARCHITECTURES, lambda draft: draft.write_text(text + "\n"))
    write_manifest(folder, table)
    return Population(folder)
