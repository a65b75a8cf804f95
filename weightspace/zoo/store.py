"""A population on disk: a manifest with a row a checkpoint, and shards of stacked weights.

recipe.yaml           how it was made, if it was
architectures.json    what the networks are, by architecture id
manifest.parquet      a row a checkpoint: id, run, epoch, properties, split, and where its weights lie
shards/*.safetensors  tensors `<group>/<name>` with a leading `models` axis
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ZooError
from weightspace.graph.trace.capture import capture_program
from weightspace.zoo.families import FAMILIES, build_network
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.manifest import MANIFEST, PLACES, filter_rows

ARCHITECTURES, SHARDS = "architectures.json", "shards"


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of one network's names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Population:
    """Many checkpoints of one recipe. Rows and weights are read when they are asked for.

    Args:
        folder: Where it lies.

    Raises:
        ZooError: The folder holds no manifest, or one that cannot be read or is none.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            raise ZooError(f"{self.folder}: holds no {MANIFEST}, so it is no population; build or import one first.")
        try:
            self.columns: tuple[str, ...] = tuple(pq.read_schema(self.folder / MANIFEST).names)
        except (OSError, pa.ArrowInvalid) as error:
            raise ZooError(f"{self.folder / MANIFEST}: cannot be read ({error}).") from error
        missing = sorted(set(PLACES) - set(self.columns))
        if missing:
            raise ZooError(f"{self.folder / MANIFEST}: has no columns {missing}, so it is no manifest of a population.")

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
                return pa.concat_tables(filter_rows(manifest, picked, where)).to_pandas()
            except (pa.ArrowException, ValueError, TypeError) as error:
                raise ZooError(
                    f"{self.folder}: the conditions {list(where)} do not fit the columns ({error})."
                ) from error

    @cached_property
    def architectures(self) -> dict[str, Any]:
        """What the networks are, by architecture id; a `ZooError` where the file is missing or damaged."""
        path = self.folder / ARCHITECTURES
        try:
            known = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ZooError(f"{path}: missing or damaged ({error}); fetch or build the population again.") from error
        if not isinstance(known, dict) or not all(isinstance(v, dict) and "shapes" in v for v in known.values()):
            raise ZooError(f"{path}: must map each architecture to its shapes; fetch or build the population again.")
        return known

    def architecture(self, name: str) -> dict[str, Any]:
        """Return what one architecture of the manifest is.

        Raises:
            ZooError: `architectures.json` does not know it, is missing or damaged.
        """
        if name not in self.architectures:
            raise ZooError(f"{self.folder / ARCHITECTURES}: does not know the architecture {name!r} of the manifest.")
        return self.architectures[name]

    def stack(self, rows: pd.DataFrame) -> dict[str, Tensor]:
        """Return the weights of rows of one architecture, stacked in their order.

        Raises:
            ZooError: Rows of several architectures, or a shard that is missing or was altered.
        """
        kinds = set(rows["architecture"])
        if len(kinds) != 1:
            raise ZooError(f"{self.folder}: {len(rows)} rows of {len(kinds)} architectures; stack one at a time.")
        shapes = self.architecture(str(kinds.pop()))["shapes"]
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
        if Path(shard).name != shard:
            raise ZooError(f"{self.folder / MANIFEST}: the shard {shard!r} does not lie in the population.")
        try:
            with safe_open(path, framework="pt") as file:
                slices = {name: file.get_slice(f"{group}/{name}") for name in names}
                tensors = {name: torch.stack([part[int(i)] for i in rows["row"]]) for name, part in slices.items()}
        except (OSError, SafetensorError, IndexError) as error:
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
        """Return one checkpoint by its id; it carries its program where the population says how networks are built.

        Raises:
            ZooError: There is no such row, or its weights are missing or were altered.
        """
        rows = self.frame(where=[("id", "==", identity)])
        if rows.empty:
            raise ZooError(f"{self.folder}: the manifest has no checkpoint {identity!r}.")
        tensors = {name: stacked[0] for name, stacked in self.stack(rows).items()}
        program = self.program(str(rows["architecture"].iloc[0]))
        metadata = {} if program is None else {"architecture": program}
        return Checkpoint(tensors, metadata, source=f"{self.folder.name}:{identity}")

    def program(self, architecture: str) -> str | None:
        """Return the program of one architecture, as `to_module` and `build_graph` read it from a checkpoint.

        None where the population does not say how its networks are built.
        """
        known = self.architecture(architecture)
        if "family" in known and architecture not in self._programs:
            text = FAMILIES[known["family"]].data == "text"
            example = torch.zeros(2, *known["signature"]["inputs"], dtype=torch.long if text else torch.float32)
            self._programs[architecture] = capture_program(self.module(architecture), (example,)).to_json()
        return self._programs.get(architecture)

    @cached_property
    def _programs(self) -> dict[str, str]:
        return {}

    def module(self, architecture: str) -> nn.Module:
        """Return an untrained module of one architecture of this population.

        Raises:
            ZooError: The population was imported and does not say how its networks are built.
        """
        known = self.architecture(architecture)
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


def find_population(name: str | Path) -> Population:
    """Open a population by its folder, or by its name where it ships with the package.

    Raises:
        ZooError: There is no such population.
    """
    folder = Path(name)
    if not folder.exists():
        shipped = Path(str(files("weightspace.model_zoo"))) / "populations" / folder
        folder = shipped if shipped.is_dir() else folder
    return Population(folder)
