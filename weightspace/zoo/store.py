"""A population on disk: a manifest with a row a checkpoint, and shards of stacked weights.

recipe.yaml           how it was made, if it was
architectures.json    what the networks are, by architecture id
manifest.parquet      a row a checkpoint: id, run, epoch, properties, split, and where its weights lie
shards/*.safetensors  tensors `<group>/<name>` with a leading `models` axis
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ZooError
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

MANIFEST, ARCHITECTURES, SHARDS = "manifest.parquet", "architectures.json", "shards"
_UNIQUE = ("id", "sha256", "parent")  # columns of text that hardly repeats


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


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of one network's names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_whole(path: Path, write: Any) -> None:
    """Write a file under another name and move it into place, so that it is there whole or not at all.

    Raises:
        ZooError: The disk is full or the folder cannot be written; what was there before stays.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        draft.unlink(missing_ok=True)
        raise ZooError(
            f"{path}: cannot be written ({error}). What was finished is kept; make room and start again."
        ) from error


class Population:
    """Many checkpoints of one recipe. Rows and weights are read when they are asked for.

    Args:
        folder: Where it lies.

    Raises:
        ZooError: The folder holds no manifest, or one that cannot be read.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            raise ZooError(f"{self.folder}: holds no {MANIFEST}, so it is no population; build or import one first.")
        try:
            self.columns: tuple[str, ...] = tuple(pq.read_schema(self.folder / MANIFEST).names)
        except (OSError, pa.ArrowInvalid) as error:
            raise ZooError(f"{self.folder / MANIFEST}: cannot be read ({error}).") from error

    def __len__(self) -> int:
        return pq.read_metadata(self.folder / MANIFEST).num_rows

    def frame(self, columns: Sequence[str] | None = None, where: Sequence[tuple[str, str, Any]] = ()) -> pd.DataFrame:
        """Return the manifest, or some columns of the rows that meet all conditions; no weight is read.

        Args:
            columns: All if None.
            where: Conditions such as `("test_accuracy", ">", 0.9)` or `("split", "==", "test")`.
        """
        wanted = set(columns or ()) | {name for name, _, _ in where}
        unknown = sorted(wanted - set(self.columns))
        if unknown:
            raise ZooError(f"{self.folder}: the manifest has no columns {unknown}; it has {list(self.columns)}.")
        picked = None if columns is None else list(columns)
        table = pq.read_table(self.folder / MANIFEST, columns=picked, filters=list(where) or None)
        return table.to_pandas()

    @cached_property
    def architectures(self) -> dict[str, Any]:
        """What the networks are, by architecture id."""
        return json.loads((self.folder / ARCHITECTURES).read_text())

    def stack(self, rows: pd.DataFrame) -> dict[str, Tensor]:
        """Return the weights of rows of one architecture, stacked in their order.

        Raises:
            ZooError: Rows of several architectures, or a shard that is missing or was altered.
        """
        kinds = set(rows["architecture"])
        if len(kinds) != 1:
            raise ZooError(f"{self.folder}: {len(rows)} rows of {len(kinds)} architectures; stack one at a time.")
        shapes = self.architectures[kinds.pop()]["shapes"]
        places = [self._read(row, shapes) for row in rows.to_dict("records")]
        return {name: torch.stack([tensors[name] for tensors in places]) for name in shapes}

    def _read(self, row: Mapping[Any, Any], names: Sequence[str] | Mapping[str, Any]) -> dict[str, Tensor]:
        path = self.folder / SHARDS / str(row["shard"])
        try:
            with safe_open(path, framework="pt") as shard:
                tensors = {name: shard.get_slice(f"{row['group']}/{name}")[int(row["row"])] for name in names}
        except (OSError, SafetensorError) as error:
            raise ZooError(
                f"{path}: missing or not readable ({error}); fetch or build the population again."
            ) from error
        if hash_tensors(tensors) != row["sha256"]:
            raise ZooError(f"{path}: the weights of {row['id']} are not those of the manifest (SHA-256 differs).")
        return tensors

    def batches(self, rows: pd.DataFrame, size: int = 256) -> Iterator[tuple[pd.DataFrame, dict[str, Tensor]]]:
        """Yield rows and their stacked weights, at most `size` of one architecture at a time."""
        for _, same in rows.groupby("architecture", observed=True, sort=True):
            for start in range(0, len(same), size):
                batch = same.iloc[start : start + size]
                yield batch, self.stack(batch)

    def checkpoint(self, identity: str) -> Checkpoint:
        """Return one checkpoint by its id.

        Raises:
            ZooError: There is no such row, or its weights are missing or were altered.
        """
        rows = self.frame(where=[("id", "==", identity)])
        if rows.empty:
            raise ZooError(f"{self.folder}: the manifest has no checkpoint {identity!r}.")
        row = rows.iloc[0].to_dict()
        tensors = self._read(row, self.architectures[row["architecture"]]["shapes"])
        return Checkpoint(tensors, source=f"{self.folder.name}:{identity}")

    def module(self, architecture: str) -> nn.Module:
        """Return an untrained module of one architecture of this population.

        Raises:
            ZooError: The population was imported and does not say how its networks are built.
        """
        known = self.architectures[architecture]
        if "family" not in known:
            raise ZooError(
                f"{self.folder}: architecture {architecture} is known by its shapes alone; it cannot be built."
            )
        signature = Signature(tuple(known["signature"]["inputs"]), known["signature"]["outputs"])
        return build_network(known["family"], signature, known["options"])

    def verify(self) -> int:
        """Read every checkpoint and compare its hash; return how many there are.

        Raises:
            ZooError: A shard is missing or was altered.
        """
        for _ in self.batches(self.frame()):
            pass
        return len(self)


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
        tables.append(_as_table(part.rows.assign(**where, architecture=kind)))
    write_whole(folder / SHARDS / shard, lambda path: save_file(tensors, path))
    return _extend(folder, pa.concat_tables(tables, promote_options="permissive"), known)


def merge_populations(folder: str | Path, others: Sequence[Population]) -> Population:
    """Bring populations together in a new or existing one; shards are copied as they are.

    Raises:
        ZooError: An id is in two of them, or the disk is full.
    """
    folder = Path(folder)
    for other in others:
        table = pq.read_table(other.folder / MANIFEST)
        prefix = f"{other.folder.name}-"
        for name in table["shard"].unique().to_pylist():
            content = (other.folder / SHARDS / name).read_bytes()
            write_whole(folder / SHARDS / f"{prefix}{name}", lambda path, content=content: path.write_bytes(content))
        renamed = pa.array([prefix + name for name in table["shard"].to_pylist()]).dictionary_encode()
        table = table.set_column(table.column_names.index("shard"), "shard", renamed)
        _extend(folder, table, other.architectures)
    return Population(folder)


def _as_table(rows: pd.DataFrame) -> pa.Table:
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
    table = table.combine_chunks().unify_dictionaries()
    write_whole(path, lambda draft: pq.write_table(table, draft, compression="zstd"))
    return Population(folder)


def find_population(name: str | Path) -> Population:
    """Open a population by its folder, or by its name where it ships with the package.

    Raises:
        ZooError: There is no such population.
    """
    folder = Path(name)
    shipped = Path(str(files("weightspace.model_zoo"))) / "populations"
    if not folder.exists() and (shipped / folder).is_dir():
        folder = shipped / folder
    return Population(folder)
