"""A picture of a latent table: each row's place in two dimensions, to be saved and added to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Float32, UInt32

from weightspace.errors import TableError
from weightspace.latents.projection import principal_places, project
from weightspace.latents.table import LatentTable, write_output

MAP, MAP_VERSION = b"weightspace.map", 1
NEAREST, BATCH = 10, 1024
PLACED, DISTANCE = "placed", "distance_to_map"


@dataclass(frozen=True, eq=False)
class LatentMap:
    """Where the rows of a table lie in a plane. Never changes once built.

    Args:
        table: The rows that have a place, with all their columns.
        places: One of each row, without a unit: only what is near what has a meaning.
        method: `tsne`, `pca` or `umap`.
        seed: Of the fit.
        left_out: How many rows of the table have none: their input failed, or their vector is not finite.

    Raises:
        TableError: Places and rows differ in number.
    """

    table: LatentTable
    places: Float32[np.ndarray, "rows 2"]
    method: str
    seed: int = 0
    left_out: int = 0

    def __post_init__(self) -> None:
        if len(self.table) != len(self.places):
            raise TableError(f"{len(self.places)} places do not fit {len(self.table)} rows.")

    def __len__(self) -> int:
        return len(self.places)

    @property
    def fitted(self) -> np.ndarray:
        """Which rows the map was made from; the others were placed on it later."""
        if PLACED not in self.table.columns:
            return np.ones(len(self), bool)
        return ~self.table.data[PLACED].fill_null(False).to_numpy()

    def place(self, table: LatentTable) -> LatentMap:
        """Return the map with further rows on it; no row that is there moves.

        PCA is linear, so a row lands where the axes say. Else it lands at the mean of its ten nearest rows of the map,
        weighted by the inverse square of their distance: a row that the map knows lands where it is. Two columns are
        added: `placed` (whether a row came later) and `distance_to_map` (to its nearest row of the map; a large one
        says that the place means little).

        Raises:
            TableError: Its latents are of another encoder or graph version, its columns are of other types, or none of
                its vectors is finite.
        """
        fresh, left_out = _with_places(table)
        known = self.table if PLACED in self.table.columns else _mark(self.table, False, np.zeros(len(self)))
        known.append(table)  # refuses the table of another encoder before anything is computed
        found, distance = self.locate(fresh.vectors)
        both = known.append(_mark(fresh, True, distance))
        places = np.concatenate([self.places, found])
        return LatentMap(both, places, self.method, self.seed, self.left_out + left_out)

    def locate(
        self, vectors: Float[np.ndarray, "fresh latent"]
    ) -> tuple[Float32[np.ndarray, "fresh 2"], Float[np.ndarray, " fresh"]]:
        """Return where finite vectors of the same encoder lie on the map, as `place` says, and how far from its rows.

        The distance is to the nearest row that the map was made from.
        """
        old, fitted = self.table.vectors[self.fitted], self.places[self.fitted]
        found, distance = _between(old, fitted, vectors)
        if self.method == "pca":
            found = principal_places(old.astype(np.float64), vectors.astype(np.float64))
        return found.astype(np.float32), distance

    def edges(self) -> UInt32[np.ndarray, "edges 2"]:
        """Return pairs of rows, child and parent, from the column `parent`; nothing where there is none.

        It holds the `id` of a parent, or several with spaces between them.
        """
        if "parent" not in self.table.columns:
            return np.zeros((0, 2), np.uint32)
        rows = {identity: i for i, identity in enumerate(self.table.data["id"].to_pylist())}
        pairs = [
            (child, rows[parent])
            for child, text in enumerate(self.table.data["parent"].to_pylist())
            for parent in _parents(text, rows)
        ]
        return np.array(pairs, np.uint32).reshape(-1, 2)

    def to_parquet(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the rows with columns `x` and `y`: a file that `read_map` and Apple's embedding-atlas open.

        Raises:
            TableError: The file is there already and `overwrite` is not set, or it cannot be written.
        """
        about = {"version": MAP_VERSION, "method": self.method, "seed": self.seed, "left_out": self.left_out}
        data = self.table.data
        data = data.drop_columns([name for name in ("x", "y") if name in data.column_names])
        for name, values in zip("xy", self.places.T, strict=True):
            data = data.append_column(name, pa.array(values))
        data = data.replace_schema_metadata({**data.schema.metadata, MAP: json.dumps(about).encode()})
        write_output(path, lambda draft: pq.write_table(data, draft), overwrite=overwrite)


def fit_map(table: LatentTable, *, method: str = "tsne", seed: int = 0) -> LatentMap:
    """Return the map of a table's rows; those that failed or are not finite are left out and counted.

    Distances are Euclidean, as in `neighbours`.

    Args:
        table: Of latents.
        method: `tsne` (what is near stays near), `pca` (linear) or `umap` (extra `umap`).
        seed: The same seed gives the same map.

    Raises:
        TableError: No row holds a finite vector, or the method is not there.
    """
    kept, left_out = _with_places(table)
    places, used = project(kept.vectors.astype(np.float64), method=method, seed=seed)
    return LatentMap(kept, places, used, seed, left_out)


def read_map(path: str | os.PathLike[str]) -> LatentMap:
    """Return the map that `LatentMap.to_parquet` wrote.

    Raises:
        TableError: The file holds no map, or one of another version.
    """
    table = LatentTable.read_parquet(path)
    text = (table.data.schema.metadata or {}).get(MAP)
    if text is None:
        raise TableError(f"{path}: holds latents and no map of them; draw one with `weightspace map`.")
    about: dict[str, Any] = json.loads(text)
    if about.get("version") != MAP_VERSION:
        raise TableError(
            f"{path}: is a map of version {about.get('version')}, this is version {MAP_VERSION}: draw it again from "
            "its table (the file holds all its columns)."
        )
    places = np.stack([table[name] for name in "xy"], axis=1).astype(np.float32)
    plain = LatentTable(table.data.drop_columns(["x", "y"]))
    return LatentMap(plain, places, about["method"], about["seed"], about["left_out"])


def _with_places(table: LatentTable) -> tuple[LatentTable, int]:
    """The rows that can have a place, and how many cannot."""
    finite = np.isfinite(table.vectors).all(1)
    if not finite.any():
        raise TableError(
            f"none of the {len(table)} rows holds a finite vector, so there is nothing to place; its column 'error' "
            "says why."
        )
    return LatentTable(table.data.filter(pa.array(finite))), int((~finite).sum())


def _mark(table: LatentTable, placed: bool, distance: np.ndarray) -> LatentTable:
    return table.assign({PLACED: [placed] * len(table), DISTANCE: distance.tolist()})


def _between(old: np.ndarray, places: np.ndarray, fresh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of new vectors among the old ones, and the distance to the nearest."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEAREST, len(old)), algorithm="brute").fit(old)
    found, nearest = [], []
    for start in range(0, len(fresh), BATCH):
        part = fresh[start : start + BATCH].astype(np.float64)
        index = search.kneighbors(part, return_distance=False)
        square = np.square(old[index] - part[:, None]).sum(2)  # exact where the search's shortcut is not
        same = square == 0
        weight = np.where(same.any(1, keepdims=True), same, 1 / np.where(same, 1, square))
        found.append((weight[:, :, None] * places[index]).sum(1) / weight.sum(1, keepdims=True))
        nearest.append(np.sqrt(square.min(1)))
    return np.concatenate(found), np.concatenate(nearest)


def _parents(text: str | None, rows: dict[str, int]) -> Iterator[str]:
    if text:
        yield from [text] if text in rows else (word for word in text.split() if word in rows)
