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
        ZooError: An id is there already, or the disk is full; the population stays as it was.
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
    write_whole(folder / SHARDS / shard, lambda path: save_file(tensors, path))
    return _extend(folder, pa.concat_tables(tables, promote_options="permissive"), known)


def merge_populations(folder: str | Path, others: Sequence[Population]) -> Population:
    """Bring populations together in a new or existing one; all of them or none.

    Shards are copied as they are, under the hash of their content.

    Raises:
        ZooError: An id is in two of them, a shard is missing, or the disk is full; the folder holds what it held.
    """
    folder, tables = Path(folder), []
    architectures: dict[str, Any] = {}
    for other in others:
        table = pq.read_table(other.folder / MANIFEST)
        names = {name: _copy_shard(other.folder / SHARDS / name, folder) for name in set(table["shard"].to_pylist())}
        renamed = pa.array([names[name] for name in table["shard"].to_pylist()]).dictionary_encode()
        tables.append(table.set_column(table.column_names.index("shard"), "shard", renamed))
        architectures |= other.architectures
    return _extend(folder, pa.concat_tables(tables, promote_options="permissive"), architectures)


def _copy_shard(path: Path, folder: Path) -> str:
    try:
        with path.open("rb") as file:
            name = f"{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}.safetensors"
    except OSError as error:
        raise ZooError(f"{path}: missing or not readable ({error}); fetch or build the population again.") from error
    write_whole(folder / SHARDS / name, lambda draft: shutil.copyfile(path, draft))
    return name


def _extend(folder: Path, table: pa.Table, architectures: Mapping[str, Any]) -> Population:
    path = folder / MANIFEST
    if path.exists():
        table = pa.concat_tables([pq.read_table(path), table], promote_options="permissive")
        known = json.loads((folder / ARCHITECTURES).read_text())
        architectures = known | dict(architectures)
    ids = table["id"]
    if len(ids.unique()) < len(ids):
        repeated = ids.value_counts().to_pylist()
        twice = [entry["values"] for entry in repeated if entry["counts"] > 1]
        raise ZooError(f"{folder}: ids {twice[:3]} are there already; every checkpoint needs its own id.")
    text = json.dumps(architectures, indent=1, sort_keys=True)
    write_whole(folder / ARCHITECTURES, lambda draft: draft.write_text(text + "\n"))
    write_manifest(folder, table)
    return Population(folder)
