"""What is left of networks at 1 to 8 bits a weight, by every scheme of compression?

    python -m benchmarks.decode.codec POPULATION ... --data-dir DATA --json

Networks of the part `test`, drawn by seed from all that did not diverge. Each is encoded at each rate by each scheme
and decoded from its bytes alone; bits a weight are all bytes over all weights. Agreement is the share of test inputs
that the decoded network answers as the original. Schemes that run networks see training inputs without labels, the
same for all; test inputs are seen by none. `finished` are networks of at least 0.25 accuracy. `absmax` may take
0.25 bits more than the rate, for its scales. `distilled, noise` sees normal noise in the place of training inputs.

The bar: `distilled` never below the best other scheme, at 1 and 2 bits at least 0.05 above it, at 8 at least 0.99.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from benchmarks.decode.behaviour import FINISHED
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.codec.codec import Compression, decode_weights, encode_many
from weightspace.errors import CodecError
from weightspace.execute.module import to_module
from weightspace.execute.stack import run_stacked, stack_tensors
from weightspace.graph.build import build_graph
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.store import Population, find_population

BASELINES = ("absmax", "rounding", "lloyd", "low_rank", "feedback")
OURS = "distilled"
EXTRA = {"absmax": 0.25}
SHOWN, TESTED = 8192, 4000
"""Training inputs that schemes see, and test inputs that networks are compared on."""


@dataclass(frozen=True, eq=False)
class Group:
    """Networks of one architecture and what they answer.

    Args:
        checkpoints: The networks.
        answers: Of the originals to the test inputs, `(models, inputs)`.
    """

    checkpoints: list[Checkpoint]
    answers: Tensor


def answer(checkpoints: list[Checkpoint], inputs: Tensor) -> Tensor:
    """Return the answers of networks, `(models, inputs)`."""
    module = to_module(checkpoints[0]).float().to(inputs.device)
    stack = {n: t.float().to(inputs.device) for n, t in stack_tensors([c.tensors for c in checkpoints]).items()}
    with torch.no_grad():
        return torch.cat([run_stacked(module, stack, part).argmax(-1) for part in inputs.split(500)], 1).cpu()


def draw_rows(population: Population, networks: int, seed: int) -> pd.DataFrame:
    """Return rows of the part `test`."""
    rows = population.frame(where=[("split", "==", "test")])
    rows = rows[~rows["diverged"]]
    return rows.sample(min(networks, len(rows)), random_state=seed)


def read_groups(population: Population, rows: pd.DataFrame, inputs: Tensor) -> list[Group]:
    """Return the networks of the rows, architecture by architecture, those of one in the order of the rows."""
    found = []
    for _, same in rows.groupby("architecture", observed=True, sort=True):
        checkpoints = [population.checkpoint(str(identity)) for identity in same["id"]]
        found.append(Group(checkpoints, answer(checkpoints, inputs)))
    return found


def compress(group: Group, scheme: str, bits: float, inputs: Tensor | None) -> list[bytes | None]:
    """Return the bytes of each network; None where the rate cannot be reached."""
    compression = Compression(bits + EXTRA.get(scheme, 0.0), scheme, inputs)
    if scheme == OURS:
        return list(encode_many(group.checkpoints, compression))
    found: list[bytes | None] = []
    for checkpoint in group.checkpoints:
        try:
            found += encode_many([checkpoint], compression)
        except CodecError:
            found.append(None)
    return found


def compare(group: Group, data: list[bytes | None], inputs: Tensor) -> tuple[list[float], list[float]]:
    """Return bits a weight and agreement of each network; NaN where there are no bytes."""
    graph = build_graph(group.checkpoints[0])
    weights = sum(t.numel() for t in group.checkpoints[0].tensors.values())
    there = [i for i, one in enumerate(data) if one is not None]
    bits, agreement = np.full(len(data), np.nan), np.full(len(data), np.nan)
    if there:
        decoded = [replace(group.checkpoints[i], tensors=decode_weights(data[i] or b"", graph)) for i in there]
        bits[there] = [8 * len(data[i] or b"") / weights for i in there]
        agreement[there] = (answer(decoded, inputs) == group.answers[there]).float().mean(1)
    return bits.tolist(), agreement.tolist()


def measure(population: Population, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row a scheme and rate."""
    rows = draw_rows(population, args.networks, args.seed)
    data: Dataset = load_dataset(str(rows["dataset"].iloc[0]), args.data_dir)
    inputs, shown = data.x_test[:TESTED].to(args.device), data.x[:SHOWN]
    groups = read_groups(population, rows, inputs)
    finished = np.concatenate([(g.answers == data.y_test[:TESTED]).float().mean(1) >= FINISHED for g in groups])
    noise = torch.randn(len(shown), *shown.shape[1:], generator=Generator().manual_seed(args.seed))
    ours = {OURS: shown} | ({f"{OURS}, noise": noise} if args.noise else {})
    found = []
    for bits in args.bits:
        parts = {name: [compress(g, name, bits, shown) for g in groups] for name in BASELINES}
        parts |= {name: [compress(g, OURS, bits, x.to(args.device)) for g in groups] for name, x in ours.items()}
        for name, some in parts.items():
            compared = [compare(*pair, inputs) for pair in zip(groups, some, strict=True)]
            found.append(row(population, (name, bits), compared, finished))
            print(json.dumps(plain(found[-1])), file=sys.stderr, flush=True)
    return found


def row(
    population: Population, key: tuple[str, float], parts: list[tuple[list[float], list[float]]], finished: np.ndarray
) -> dict[str, Any]:
    """Return what one scheme leaves at one rate."""
    bits, agreement = (np.concatenate([part[i] for part in parts]) for i in range(2))
    return {
        "population": population.folder.name,
        "scheme": key[0],
        "rate": key[1],
        "bits": float(np.mean(bits)),
        "agreement": float(np.mean(agreement)),
        "error": float(np.std(agreement) / np.sqrt(len(agreement))),
        "worst_tenth": float(np.quantile(agreement, 0.1)),
        "finished": float(np.mean(agreement[finished])) if finished.any() else float("nan"),
        "networks": len(agreement),
        "networks_finished": int(finished.sum()),
    }


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: None where a rate is not reached."""
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}


def bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by population and rate how far ours lies above the best baseline, and whether the bar is met."""
    found = []
    for name, rate in dict.fromkeys((r["population"], r["rate"]) for r in rows):
        here = {r["scheme"]: r for r in rows if (r["population"], r["rate"]) == (name, rate)}
        others = {s: here[s]["agreement"] for s in BASELINES if np.isfinite(here[s]["agreement"])}
        best = max(others, key=others.__getitem__)
        ours, gain = here[OURS]["agreement"], here[OURS]["agreement"] - others[best]
        met = gain >= (0.05 if rate <= 2 else 0) and (rate < 8 or ours >= 0.99)
        found.append({"population": name, "rate": rate, "ours": ours, "best": best, "gain": gain, "met": bool(met)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--data-dir")
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--bits", type=float, nargs="+", default=[1, 2, 3, 4, 8])
    parser.add_argument("--noise", action="store_true", help="also without any real input")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [r for name in args.populations for r in measure(find_population(name), args)]
    told = {"rows": [plain(r) for r in rows], "bars": bars(rows)}
    if args.json:
        print(json.dumps(told, indent=1))
        return
    for r in sorted(rows, key=lambda r: (r["population"], r["rate"], r["agreement"])):
        print("  ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in r.values()))
    for bar in told["bars"]:
        print(bar)


if __name__ == "__main__":
    main()
