"""How fast does a large manifest open and filter, and what does it hold in memory?

    python -m benchmarks.zoo.manifest --rows 1000000 --json

Writes the manifest of a population of that many checkpoints, with the columns that a build writes and no shard at all,
and opens it in a process of its own. Bar for a million rows: open in under 2 s, under 500 MB resident.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from weightspace import zoo
from weightspace.zoo.manifest import MANIFEST, as_table, write_manifest
from weightspace.zoo.recipe import parse_recipe
from weightspace.zoo.store import ARCHITECTURES

SNAPSHOTS, CHUNK = 5, 50_000
MEASURES = ("train_accuracy", "train_loss", "test_accuracy", "test_loss", "generalisation_gap")
RECIPE = {
    "name": "large",
    "family": "smallcnn",
    "runs": 1,
    "snapshots": [1],
    "sample": {
        "dataset": "mnist",
        "activation": {"choice": ["relu", "tanh", "gelu"]},
        "optimizer": {"choice": ["sgd", "adam"]},
        "learning_rate": {"log_uniform": [1e-4, 0.1]},
        "weight_decay": {"log_uniform": [1e-6, 0.1]},
    },
}


def make_rows(start: int, stop: int) -> pa.Table:
    """Rows of checkpoints `start` to `stop` as a build writes them."""
    rng, number = np.random.default_rng(start), np.arange(start, stop)
    recipe = parse_recipe(RECIPE)
    drawn = pd.DataFrame([recipe.draw_run(i) for i in range(start // SNAPSHOTS, -(-stop // SNAPSHOTS))])
    rows = drawn.loc[np.repeat(drawn.index, SNAPSHOTS)].iloc[: stop - start].reset_index(drop=True)
    rows = rows.assign(id=[f"large/{i // SNAPSHOTS:06d}/{i % SNAPSHOTS}" for i in number])
    rows = rows.assign(snapshot=number % SNAPSHOTS, epoch=number % SNAPSHOTS * 2.0, diverged=False, parent=None)
    rows = rows.assign(split=np.where(rows.run % 10 < 7, "train", "test"), node="root", operation="train")
    rows = rows.assign(**{name: rng.random(len(rows)) for name in MEASURES})
    hashes = [rng.bytes(32).hex() for _ in number]
    where = {"shard": [f"{i // 2560:05d}.safetensors" for i in number], "group": "0000", "row": number % 512}
    return as_table(rows.assign(**where, sha256=hashes, architecture="0" * 12))


def write_population(folder: Path, rows: int) -> None:
    """Write a population without weights."""
    (folder / ARCHITECTURES).write_text("{}")
    tables = [make_rows(i, min(i + CHUNK, rows)) for i in range(0, rows, CHUNK)]
    write_manifest(folder, pa.concat_tables(tables))


def resident() -> float:
    """Most memory this program has held, MB; `getrusage` would count the process that started it too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def measure_manifest(folder: str, answer) -> None:
    """Send how long opening, filtering and a frame of all columns take."""
    found = {"resident_before": resident()}

    def timed(name: str, call):
        start = time.perf_counter()
        value = call()
        found[name] = time.perf_counter() - start
        found[f"resident_after_{name}"] = resident()
        return value

    population = timed("open", lambda: zoo.load(folder))
    found["rows"] = len(population)
    where = [("test_accuracy", ">", 0.99), ("split", "==", "test"), ("snapshot", "==", SNAPSHOTS - 1)]
    found["filtered_rows"] = len(timed("filter", lambda: population.frame(where=where)))
    timed("two_columns", lambda: population.frame(["learning_rate", "test_accuracy"]))
    timed("all", lambda: population.frame())
    answer.send(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_population(Path(folder), args.rows)
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=measure_manifest, args=(folder, there))
        child.start()
        found = here.recv() | {"megabytes_on_disk": (Path(folder) / MANIFEST).stat().st_size / 1e6}
        child.join()
    print(json.dumps(found, indent=1) if args.json else "\n".join(f"{k:32} {v:,.3f}" for k, v in found.items()))


if __name__ == "__main__":
    main()
