"""How long does a map of many latents take, how large is its page, and how soon does the page answer a pointer?

    python -m benchmarks.latents.map --json

Draws clustered vectors of 256 numbers with properties, maps them on at most two cores, writes the page, and opens it in
Chromium (without a graphics card). Bars for 100,000 latents: 5 minutes, 40 MB, and 3 seconds from opening the file to
the words under the pointer. No row may be missing from the page.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.cores import keep_to
from weightspace.latents.map import fit_map
from weightspace.latents.map_page import write_page
from weightspace.latents.table import LatentTable

CORES, WIDTH, CLUSTERS = 2, 256, 60
SECONDS, BYTES, ANSWER = 300.0, 40_000_000, 3.0
CHROMIUM = "/usr/bin/chromium"


def draw_table(rows: int, seed: int) -> LatentTable:
    """Return latents in clusters, with ids, paths, hashes, six properties and a parent for a third of the rows."""
    g = np.random.default_rng(seed)
    cluster = g.integers(0, CLUSTERS, rows)
    vectors = (3 * g.normal(size=(CLUSTERS, WIDTH))[cluster] + g.normal(size=(rows, WIDTH))).astype(np.float32)
    ids = [f"population_{c:02d}/{i:06d}/final" for i, c in enumerate(cluster)]
    empty = LatentTable.from_rows([], encoder="synthetic", graph_version=1, latent=WIDTH)
    columns = {
        "id": ids,
        "path": [f"runs/{name}.safetensors" for name in ids],
        "sha256": [g.bytes(32).hex() for _ in range(rows)],
        "weights": g.integers(1_000, 1_000_000, rows),
        "understood": g.uniform(0.9, 1, rows),
        "free_units": g.integers(10, 1_000, rows),
        "nonfinite": np.zeros(rows, int),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), WIDTH),
        "error": [""] * rows,
    }
    data = pa.table([pa.array(columns[f.name], f.type) for f in empty.data.schema], schema=empty.data.schema)
    parents = [ids[int(g.integers(0, i))] if i and g.uniform() < 1 / 3 else None for i in range(rows)]
    return LatentTable(data).assign(
        {
            "dataset": [f"dataset {c % 7}" for c in cluster],
            "activation": [("relu", "tanh", "gelu")[c % 3] for c in cluster],
            "learning_rate": (10 ** g.uniform(-5, 0, rows)).tolist(),
            "test_accuracy": g.uniform(0, 1, rows).tolist(),
            "epoch": g.integers(0, 50, rows).tolist(),
            "parent": parents,
        }
    )


def open_page(path: Path) -> dict[str, Any]:
    """Return seconds from opening a page to its first answer to the pointer, and how many rows it holds."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        outside: list[str] = []
        page.on("request", lambda request: outside.append(request.url))
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]", timeout=60_000)
        drawn = time.perf_counter()
        page.mouse.move(*page.evaluate("latentMap.screen(latentMap.rows >> 1)"))
        page.wait_for_selector("#tip:not([hidden]) .id")
        answered = time.perf_counter()
        page.evaluate("globalThis.began = performance.now(); latentMap.drawPoints()")
        frame = page.evaluate("performance.now() - began")
        found = {
            "open_to_drawn_s": drawn - start,
            "open_to_hover_s": answered - start,
            "hover_s": answered - drawn,
            "redraw_ms": frame,
            "rows_on_page": page.evaluate("latentMap.data.x.length"),
            "requests": [url for url in outside if not url.startswith(("file:", "data:", "blob:"))],
        }
        browser.close()
    return found


def main() -> int:
    """Print the measurements; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--method", default="tsne")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_to(CORES)
    table = draw_table(options.rows, options.seed)
    start, began = time.perf_counter(), time.process_time()
    drawn = fit_map(table, method=options.method, seed=options.seed)
    mapped = time.perf_counter() - start
    text = write_page(drawn)
    seconds, busy = time.perf_counter() - start, time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "map.html")
        path.write_text(text, encoding="utf-8")
        report = {
            "rows": options.rows,
            "method": drawn.method,
            "map_s": mapped,
            "map_and_page_s": seconds,
            "processor_s": busy,
            "page_bytes": path.stat().st_size,
            **open_page(path),
            "machine": f"{platform.machine()}, {CORES} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        }
    print(json.dumps(report, indent=None if options.json else 2))
    missed = seconds > SECONDS or report["page_bytes"] > BYTES or report["open_to_hover_s"] > ANSWER
    return int(missed or report["rows_on_page"] != options.rows or bool(report["requests"]))


if __name__ == "__main__":
    sys.exit(main())
