"""Which stage of a network knows which property? Linear probes of runs that neither probe nor encoder has seen.

`python -m benchmarks.latents.probing POPULATION... --encoder NAME`

Probed are the vector, each stage, and seven statistics of each tensor (which need no encoder), for: the dataset (where
several populations are given), activation, optimizer, learning rate (its decade as a name, its logarithm as a number),
train fraction (as a name and as a number), test accuracy and epoch. Rows are those of the split `test`, which no
encoder was trained on, parted by run: 5 folds, 3 seeds. Beside each score stand chance (the commonest name, or the
mean), the control task (each run one random value, rows of a run on both sides) and what is left of the score without
it, the share of 200 random properties told as well, and how many of 100 held-out rows the 90 % interval holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.baselines import seven_statistics
from weightspace import zoo
from weightspace.encode.encoder import Encoder
from weightspace.errors import TableError
from weightspace.latents.probing import ProbeReport, ProbeSettings, probe_stages
from weightspace.latents.table import LatentTable, concat_tables
from weightspace.zoo.embed import embed_population

PROPERTIES = (
    "dataset",
    "activation",
    "optimizer",
    "rate_decade",
    "log_rate",
    "fraction_name",
    "train_fraction",
    "test_accuracy",
    "epoch",
)
STATISTICS = "(seven statistics)"


def main() -> int:
    """Print a line for each property and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+", type=Path)
    parser.add_argument("--encoder", default="random-sweep")
    parser.add_argument("--split", default="test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one object a line")
    options = parser.parse_args()
    encoder = Encoder.from_pretrained(options.encoder)
    start = time.perf_counter()
    table, stages = read_populations(encoder, options.populations, options.split)
    print(f"{encoder.id}: {len(table)} rows in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    for column in PROPERTIES:
        try:
            reports = probe_stages(table, stages, column, ProbeSettings(seeds=options.seeds))
        except TableError as error:
            print(f"{column}: {error}", file=sys.stderr)
            continue
        for stage, report in reports.items():
            print(json.dumps({"stage": stage} | report.as_dict()) if options.json else _line(stage, report), flush=True)
    return 0


def read_populations(encoder: Encoder, folders: list[Path], split: str) -> tuple[LatentTable, dict[str, np.ndarray]]:
    """Return one table of all populations' networks of a split that did not diverge, and what each stage says."""
    tables, found = [], []
    for folder in folders:
        population = zoo.load(folder)
        rows = population.frame(where=[("split", "==", split), ("diverged", "==", False)])
        one = embed_population(encoder, population, rows)
        statistics = np.array([seven_statistics(population.checkpoint(str(i))) for i in one.table["id"]], np.float32)
        tables.append(one.table)
        found.append({"vector": one.table.vectors, **one.stages, STATISTICS: statistics})
    table = concat_tables(tables)
    names = dict.fromkeys(name for stages in found for name in stages)
    merged = {name: _joined([s.get(name) for s in found], [len(t) for t in tables]) for name in names}
    rates = [f"1e{np.floor(np.log10(rate)):.0f}" for rate in table["learning_rate"]]
    logs, fractions = np.log10(table["learning_rate"]).tolist(), [f"{f:g}" for f in table["train_fraction"]]
    return table.assign({"rate_decade": rates, "log_rate": logs, "fraction_name": fractions}), merged


def _joined(parts: list[np.ndarray | None], counts: list[int]) -> np.ndarray:
    """Rows of all populations; NaN where one has no such stage."""
    width = max(part.shape[1] for part in parts if part is not None)
    rows = [np.full((n, width), np.nan) if p is None else p for p, n in zip(parts, counts, strict=True)]
    return np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1])), constant_values=np.nan) for r in rows])


def _line(stage: str, report: ProbeReport) -> str:
    name = f"{report.column} ({'R2' if report.kind == 'number' else 'accuracy'})"
    return (
        f"{name:24} {stage:24} {report.score:6.3f} +- {report.spread:.3f}  chance {report.chance:6.3f}  control "
        f"{report.control:6.3f}  selectivity {report.selectivity:6.3f}  p {report.p_value:.3f}  interval holds "
        f"{report.coverage:.1%}  ({report.rows} rows, {report.groups} {report.by}s)"
    )


if __name__ == "__main__":
    sys.exit(main())
