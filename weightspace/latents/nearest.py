"""Which rows of a latent table lie nearest to a vector: exactly, in blocks, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Float64, Int64

from weightspace.errors import TableError
from weightspace.latents.table import LatentTable

Metric = Literal["euclidean", "cosine"]
BLOCK, QUERIES = 1 << 14, 64
"""Rows and queries that are compared at a time."""
TINY = 1e-30  # what products lose to numbers too small for single precision


@dataclass(frozen=True, eq=False)
class _Block:
    """Rows of the table that lie together: their numbers, vectors as they are stored, and lengths."""

    rows: Int64[np.ndarray, " rows"]
    values: Float32[np.ndarray, "rows latent"]
    lengths: Float64[np.ndarray, " rows"]

    def take(self, kept: np.ndarray) -> _Block:
        return self if kept.all() else _Block(self.rows[kept], self.values[kept], self.lengths[kept])


@final
class NearestRows:
    """Finds the nearest rows of one table, by Euclidean or cosine distance (one less the cosine).

    A product in single precision is off by at most `g |x| |q|` with `g = (latent + 3) / 2^24`. Rows that this bound
    keeps from the `k` nearest are passed over; the others are measured in double precision. So the answer is that of
    double precision, equal distances in the order of rows. Vectors are read where they lie in the table. Rows
    without a vector, or with one that is not finite, are never found; a vector of zeros has cosine 0.

    Args:
        table: Of latents.
        metric: How far apart two vectors are.

    Raises:
        TableError: No row holds a finite vector.

    Source:
        Higham (2002), "Accuracy and stability of numerical algorithms", 3.1, for the bound.
    """

    def __init__(self, table: LatentTable, metric: Metric = "euclidean") -> None:
        self.metric, self.rows = metric, len(table)
        self.latent = int(table.data.schema.field("vector").type.list_size)
        self._blocks = list(_blocks(table))
        self.held = sum(len(block.rows) for block in self._blocks)
        if not self.held:
            raise TableError(f"none of the {len(table)} rows holds a finite vector, so there is nothing to search.")

    def find(
        self,
        queries: Float[np.ndarray, "queries latent"],
        k: int,
        *,
        among: Bool[np.ndarray, " rows"] | None = None,
        apart: Int64[np.ndarray, " queries"] | None = None,
    ) -> tuple[Int64[np.ndarray, "queries found"], Float64[np.ndarray, "queries found"]]:
        """Return the numbers of the nearest rows of each query, nearest first, and their distances.

        Args:
            queries: Vectors.
            k: How many rows; fewer where there are no more. Missing ones are row -1 at distance infinity.
            among: Which rows of the table to look at; all by default.
            apart: A row for each query that it must not find, such as itself; -1 for none.

        Raises:
            TableError: A query has another width than the table, is not finite, or has no direction (cosine).
        """
        queries = self._check(queries, k)
        among = np.ones(self.rows, bool) if among is None else among
        k = min(k, sum(int(among[block.rows].sum()) for block in self._blocks))
        found = np.full((len(queries), k), -1), np.full((len(queries), k), np.inf)
        for start in range(0, len(queries) if k else 0, QUERIES):
            some = slice(start, start + QUERIES)
            best = _Best(queries[some], found[0][some], found[1][some], self.metric)
            for block in self._blocks:
                allowed = among[block.rows][None]
                if apart is not None:
                    allowed = allowed & (block.rows != apart[some, None])
                best.see(block, allowed)
        return found

    def _check(self, queries: np.ndarray, k: int) -> Float64[np.ndarray, "queries latent"]:
        queries = np.atleast_2d(np.asarray(queries, np.float64))
        if k < 1:
            raise TableError(f"k = {k}: ask for one row or more.")
        if queries.shape[1] != self.latent:
            raise TableError(f"the query has {queries.shape[1]} numbers, the table's vectors have {self.latent}.")
        if not np.isfinite(queries).all():
            raise TableError("the query holds NaN or infinite numbers; was the row that it is from embedded?")
        if self.metric == "cosine" and not queries.any(1).all():
            raise TableError("the query is all zeros and has no direction; search by Euclidean distance.")
        return queries


@dataclass(frozen=True, eq=False)
class _Best:
    """The nearest rows of some queries so far; the arrays are filled in place."""

    queries: np.ndarray
    rows: np.ndarray
    distances: np.ndarray
    metric: Metric

    def see(self, block: _Block, allowed: np.ndarray) -> None:
        """Take rows of a block in where they are nearer; `allowed` says which may be, `(queries or 1, rows)`."""
        low, high = _bounds(block, self.queries, self.metric)
        k = self.rows.shape[1]
        limit = self.distances[:, -1] if self.metric == "cosine" else np.square(self.distances[:, -1])
        if len(block.rows) > k:
            high[np.broadcast_to(~allowed, high.shape)] = np.inf
            limit = np.minimum(limit, np.partition(high, k - 1, axis=1)[:, k - 1])
        maybe = (low <= limit[:, None] * (1 + 1e-12)) & allowed
        for i in np.flatnonzero(maybe.any(1)):
            self._measure(int(i), block.take(maybe[i]))

    def _measure(self, i: int, block: _Block) -> None:
        values, query = block.values.astype(np.float64), self.queries[i]
        if self.metric == "cosine":
            values /= np.where(block.lengths > 0, block.lengths, 1)[:, None]
            query = query / np.linalg.norm(query)
        squares = np.square(values - query).sum(1)
        distances = np.where(block.lengths > 0, squares / 2, 1) if self.metric == "cosine" else np.sqrt(squares)
        rows, distances = np.r_[self.rows[i], block.rows], np.r_[self.distances[i], distances]
        order = np.lexsort((rows, distances))[: self.rows.shape[1]]
        self.rows[i], self.distances[i] = rows[order], distances[order]


def _bounds(block: _Block, queries: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest distance (cosine) or its square (Euclidean) of each query and row, `(queries, rows)`."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(queries, axis=1)[:, None]
        products = (queries.astype(np.float32) @ block.values.T).astype(np.float64)
        slack = (lengths * block.lengths + TINY) * (block.values.shape[1] + 3) * 2.0**-24
        if metric == "cosine":
            scale = np.where(block.lengths > 0, lengths * block.lengths, 1)
            middle, off = 1 - products / scale, slack / scale + 1e-12
        else:
            squares = np.square(lengths) + np.square(block.lengths)
            middle, off = squares - 2 * products, 2 * slack + 1e-12 * squares
        known = np.isfinite(products)
        return np.where(known, middle - off, -np.inf), np.where(known, middle + off, np.inf)


def _blocks(table: LatentTable) -> Iterator[_Block]:
    """Rows with finite vectors, without a copy where a chunk of the table misses none."""
    start = 0
    for chunk in table.data["vector"].chunks:
        rows = start + np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False))
        values = _flat(chunk).reshape(len(rows), -1) if len(rows) else np.empty((0, 1), np.float32)
        for i in range(0, len(rows), BLOCK):
            part = values[i : i + BLOCK]
            lengths = np.sqrt(np.einsum("ij,ij->i", part, part, dtype=np.float64))
            yield _Block(rows[i : i + BLOCK], part, lengths).take(np.isfinite(lengths))
        start += len(chunk)


def _flat(chunk: pa.FixedSizeListArray) -> np.ndarray:
    return chunk.flatten().to_numpy(zero_copy_only=False)
