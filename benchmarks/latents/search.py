"""How long an exact search among a million rows takes, and that it finds what a full sort finds.

`python -m benchmarks.latents.search --json`. Vectors are drawn around a hundred centres, in single precision, so that
many rows lie near a query. Asked are rows of the table with a little noise, each by both distances, without and with a
property filter that half of the rows meet. The answer of the first query is held against double precision over all.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time

import numpy as np
import pyarrow as pa

from weightspace.latents.nearest import Metric, NearestRows
from weightspace.latents.search import meets
from weightspace.latents.table import LatentTable

CENTRES, SPREAD, K = 100, 0.1, 10
METRICS: tuple[Metric, ...] = ("euclidean", "cosine")


def main() -> int:
    """Print seconds a query, and the memory that was held at most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--latent", type=int, default=256)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    table = draw_table(options.rows, options.latent, generator)
    asked = generator.choice(options.rows, options.queries)
    queries = _read(table, asked) + SPREAD * generator.normal(size=(options.queries, options.latent))
    report = {"rows": options.rows, "latent": options.latent, "queries": options.queries}
    report |= {metric: _time(table, queries, metric) for metric in METRICS}
    report["peak_gigabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    print(json.dumps(report, indent=None if options.json else 1))
    return 0


def draw_table(rows: int, latent: int, generator: np.random.Generator) -> LatentTable:
    """Return a table of vectors around a hundred centres, with a column `score` between 0 and 1."""
    schema = LatentTable.from_rows([], encoder="drawn", graph_version=1, latent=latent).data.schema
    vectors = generator.standard_normal((rows, latent), dtype=np.float32)
    vectors *= np.float32(SPREAD)
    centres = generator.standard_normal((CENTRES, latent), dtype=np.float32)
    for start in range(0, rows, 1 << 16):
        part = vectors[start : start + (1 << 16)]
        part += centres[generator.integers(CENTRES, size=len(part))]
    columns = {field.name: pa.nulls(rows, field.type) for field in schema}
    columns["id"] = pa.array([f"net{i}" for i in range(rows)])
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), latent)
    table = pa.table([columns[field.name] for field in schema], schema=schema)
    return LatentTable(table.append_column("score", pa.array(generator.random(rows))))


def _read(table: LatentTable, rows: np.ndarray) -> np.ndarray:
    return np.array(table.data["vector"].take(pa.array(rows)).to_pylist())


def _time(table: LatentTable, queries: np.ndarray, metric: Metric) -> dict[str, object]:
    start = time.perf_counter()
    index = NearestRows(table, metric)
    prepared = time.perf_counter() - start
    plain, filtered = [], []
    for query in queries:
        start = time.perf_counter()
        index.find(query[None], K)
        plain.append(time.perf_counter() - start)
        start = time.perf_counter()
        index.find(query[None], K, among=meets(table, [("score", ">", 0.5)]))
        filtered.append(time.perf_counter() - start)
    found = {"prepare_seconds": prepared}
    for name, seconds in (("seconds", plain), ("filtered_seconds", filtered)):
        found |= {f"{name}_median": float(np.median(seconds)), f"{name}_slowest": max(seconds)}
    rows = index.find(queries[:1], K)[0][0]
    exact = np.array_equal(rows, _sort_all(table, queries[0], metric))
    return {name: round(value, 3) for name, value in found.items()} | {"as_full_sort": exact}


def _sort_all(table: LatentTable, query: np.ndarray, metric: Metric) -> np.ndarray:
    """Nearest rows by double precision over all, part by part."""
    away = np.empty(len(table))
    values = table.data["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    for start in range(0, len(table), 1 << 16):
        part = values[start : start + (1 << 16)].astype(np.float64)
        if metric == "cosine":
            away[start : start + (1 << 16)] = 1 - part @ query / np.linalg.norm(part, axis=1) / np.linalg.norm(query)
        else:
            away[start : start + (1 << 16)] = np.linalg.norm(part - query, axis=1)
    return np.argsort(away, kind="stable")[:K]


if __name__ == "__main__":
    sys.exit(main())
