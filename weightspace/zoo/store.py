"""A population on disk: a manifest with a row a checkpoint, and shards of stacked weights.

recipe.yaml           how it was made, if it was
architectures.json    what the networks are, by architecture id
manifest.parquet      a row a checkpoint: id, run, epoch, properties, split, and where its weights lie
shards/*.safetensors  tensors `<group>/<name>` with a leading `models` axis
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from weightspace.checkpoint.whole import replacing
from weightspace.errors import ZooError
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

MANIFEST, ARCHITECTURES, SHARDS = "manifest.parquet", "architectures.json", "shards"
_ROW_GROUP = 65_536  # rows that a filter looks at, and holds in memory, at a time
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
        picked = list(self.columns if columns is None else columns)
        if not where or not len(self):
            return pq.read_table(self.folder / MANIFEST, columns=picked).to_pandas()
        with pq.ParquetFile(self.folder / MANIFEST) as manifest:
            try:
                return pa.concat_tables(_filter_rows(manifest, picked, where)).to_pandas()
            except (pa.ArrowException, ValueError, TypeError) as error:
                raise ZooError(
                    f"{self.folder}: the conditions {list(where)} do not fit the columns ({error})."
                ) from error

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
        stacked: dict[str, Tensor] = {}
        places = rows.reset_index(drop=True).groupby(["shard", "group"], observed=True, sort=False)
        for (shard, group), same in places:
            where = torch.tensor(same.index.to_numpy())
            for name, tensor in self._read(str(shard), str(group), same, shapes).items():
                stacked.setdefault(name, tensor.new_empty(len(rows), *tensor.shape[1:]))[where] = tensor
        return stacked

    def _read(
        self, shard: str, group: str, rows: pd.DataFrame, names: Sequence[str] | Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Tensors of rows that lie in one group of one shard, each held against its hash."""
        path = self.folder / SHARDS / shard
        try:
            with safe_open(path, framework="pt") as file:
                slices = {name: file.get_slice(f"{group}/{name}") for name in names}
                tensors = {name: torch.stack([part[int(i)] for i in rows["row"]]) for name, part in slices.items()}
        except (OSError, SafetensorError) as error:
            raise ZooError(
                f"{path}: missing or not readable ({error}); fetch or build the population again."
            ) from error
        for i, (identity, digest) in enumerate(zip(rows["id"], rows["sha256"], strict=True)):
            if hash_tensors({name: tensor[i] for name, tensor in tensors.items()}) != digest:
                raise ZooError(f"{path}: the weights of {identity} are not those of the manifest (SHA-256 differs).")
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
        tensors = {name: stacked[0] for name, stacked in self.stack(rows).items()}
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


def _filter_rows(
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


def write_manifest(folder: Path, table: pa.Table) -> None:
    """Write the manifest of a population, whole.

    Raises:
        ZooError: The disk is full; the manifest that was there stays.
    """
    whole = table.combine_chunks().unify_dictionaries()
    write_whole(
        folder / MANIFEST, lambda draft: pq.write_table(whole, draft, compression="zstd", row_group_size=_ROW_GROUP)
    )


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
