"""What is left of networks at 1 to 8 bits a weight, by every scheme of compression?

    python -m benchmarks.decode.codec POPULATION ... --data-dir DATA --out ROWS [--json]

Networks of the part `test`, drawn by seed from all that did not diverge. Each is encoded at each rate by each scheme
and decoded from its bytes alone; bits a weight are all bytes over all weights. Agreement is the share of test inputs
that the decoded network answers as the original. Schemes that run networks see training inputs without labels, the
same for all; test inputs are seen by none. `finished` are networks of at least 0.25 accuracy. `absmax` may take
0.25 bits more than the rate, for its scales. `distilled, noise` sees normal noise in the place of training inputs.
With `--decoder`, `distilled, foretold` also tries to compress what is left beside what that decoder foretells, and
keeps what loses less; `explained` is the share of squared weights that is foretold, `side` the bits that say it,
and `expected` the bits that it should save beyond these, of normal weights at a high rate.
Rows of ROWS, one a network, scheme and rate, are not made again: a run that was cut off goes on where it was.

The bar: `distilled` never below the best other scheme, at 1 and 2 bits at least 0.05 above it, at 8 at least 0.99.
Where the best other scheme leaves less than 0.05 to be had, `share` says how much of the disagreement is gone.
Intervals are of 95 %, from samples of runs with replacement.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.codec.codec import Compression, decode_weights, encode_many, is_foretold
from weightspace.decode.codec.layout import Layout
from weightspace.decode.codec.prediction import Predictor
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.errors import CodecError
from weightspace.execute.module import to_module
from weightspace.execute.stack import run_stacked, stack_tensors
from weightspace.graph.build import build_graph
from weightspace.zoo.data import load_dataset
from weightspace.zoo.store import Population, find_population

BASELINES = ("feedback", "rounding", "lloyd", "absmax", "low_rank")
OURS, NOISE, FORETOLD = "distilled", "distilled, noise", "distilled, foretold"
EXTRA = {"absmax": 0.25}
FINISHED = 0.25
"""Accuracy from which a network counts as finished."""
SHOWN, TESTED = 8192, 4000
"""Training inputs that schemes see, and test inputs that networks are compared on."""
SAMPLES = 2000
"""Of runs, for intervals."""


@dataclass(frozen=True, eq=False)
class Group:
    """Networks of one architecture and what they answer.

    Args:
        rows: Of the population.
        checkpoints: The networks.
        answers: Of the originals to the test inputs, `(models, inputs)`.
        accuracy: Of the originals on them.
    """

    rows: pd.DataFrame
    checkpoints: list[Checkpoint]
    answers: Tensor
    accuracy: list[float]


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


def read_groups(population: Population, rows: pd.DataFrame, inputs: Tensor, labels: Tensor) -> list[Group]:
    """Return the networks of the rows, architecture by architecture, those of one in the order of the rows."""
    found = []
    for _, same in rows.groupby("architecture", observed=True, sort=True):
        checkpoints = [population.checkpoint(str(identity)) for identity in same["id"]]
        answers = answer(checkpoints, inputs)
        found.append(Group(same, checkpoints, answers, (answers == labels).float().mean(1).tolist()))
    return found


def compress(checkpoints: list[Checkpoint], compression: Compression) -> list[bytes | None]:
    """Return the bytes of each network; None where the rate cannot be reached."""
    if compression.scheme == OURS:
        return list(encode_many(checkpoints, compression))
    found: list[bytes | None] = []
    for checkpoint in checkpoints:
        try:
            found += encode_many([checkpoint], compression)
        except CodecError:
            found.append(None)
    return found


def compare(
    group: Group, data: list[bytes | None], inputs: Tensor, decoder: Decoder | None
) -> tuple[list[float], list[float]]:
    """Return bits a weight and agreement of each network; NaN where there are no bytes."""
    graph = build_graph(group.checkpoints[0])
    weights = sum(t.numel() for t in group.checkpoints[0].tensors.values())
    there = [i for i, one in enumerate(data) if one is not None]
    bits, agreement = np.full(len(data), np.nan), np.full(len(data), np.nan)
    if there:
        decoded = [replace(group.checkpoints[i], tensors=decode_weights(data[i] or b"", graph, decoder)) for i in there]
        bits[there] = [8 * len(data[i] or b"") / weights for i in there]
        agreement[there] = (answer(decoded, inputs) == group.answers[there]).float().mean(1)
    return bits.tolist(), agreement.tolist()


def foretell(predictor: Predictor, checkpoint: Checkpoint, data: bytes | None) -> dict[str, Any]:
    """Return whether bytes are of what is left, the share of squares foretold, bits that say it, and bits expected."""
    graph = build_graph(checkpoint)
    told = predictor.predict(checkpoint, graph, Layout.of(graph))
    expected = {"explained": told.explained, "side": 8 * len(told.data), "expected": told.gain}
    return expected | {"used": is_foretold(data or b"")}


def measure(
    population: Population, args: argparse.Namespace, known: set[tuple[str, str, float, str]]
) -> Iterator[dict[str, Any]]:
    """Yield a row a network, scheme and rate that is not known."""
    rows, name = draw_rows(population, args.networks, args.seed), population.folder.name
    data = load_dataset(str(rows["dataset"].iloc[0]), args.data_dir)
    inputs, shown = data.x_test[:TESTED].to(args.device), data.x[:SHOWN]
    noise = torch.randn(len(shown), *shown.shape[1:], generator=Generator().manual_seed(args.seed))
    groups = read_groups(population, rows, inputs, data.y_test[:TESTED])
    predictor = Predictor(Decoder.from_pretrained(args.decoder), Encoder.from_pretrained()) if args.decoder else None
    schemes = [*args.schemes, FORETOLD] if predictor else args.schemes
    for scheme, bits in ((s, b) for b in args.bits for s in schemes):
        for group in groups:
            left = [i for i, one in enumerate(group.rows["id"]) if (name, scheme, bits, str(one)) not in known]
            if not left:
                continue
            some = Group(
                group.rows.iloc[left],
                [group.checkpoints[i] for i in left],
                group.answers[left],
                [group.accuracy[i] for i in left],
            )
            given = (noise if scheme == NOISE else shown).to(args.device if scheme.startswith(OURS) else "cpu")
            foretelling = predictor if scheme == FORETOLD else None
            plain = scheme.partition(",")[0]
            compression = Compression(bits + EXTRA.get(plain, 0.0), plain, given, predictor=foretelling)
            streams = compress(some.checkpoints, compression)
            taken, agreement = compare(some, streams, inputs, foretelling and foretelling.decoder)
            for i, row in enumerate(some.rows.to_dict("records")):
                more = foretell(foretelling, some.checkpoints[i], streams[i]) if foretelling else {}
                yield {
                    "population": name,
                    "scheme": scheme,
                    "rate": bits,
                    "network": str(row["id"]),
                    "run": str(row["run"]),
                    "accuracy": some.accuracy[i],
                    "bits": taken[i] if np.isfinite(taken[i]) else None,
                    "agreement": agreement[i] if np.isfinite(agreement[i]) else None,
                } | more


def summarise(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row a population, rate and scheme."""
    found = []
    for key, here in rows.groupby(["population", "rate", "scheme"], sort=True):
        agreement = here["agreement"].to_numpy(float)
        low, high = interval(agreement, here["run"].to_numpy())
        told = dict(zip(("population", "rate", "scheme"), key, strict=True))
        finished = here["accuracy"].to_numpy() >= FINISHED
        found.append(
            told
            | {
                "bits": float(here["bits"].mean()),
                "agreement": float(agreement.mean()),
                "low": low,
                "high": high,
                "worst_tenth": float(np.quantile(agreement, 0.1)),
                "finished": float(agreement[finished].mean()) if finished.any() else float("nan"),
                "networks": len(here),
                "networks_finished": int(finished.sum()),
            }
        )
    return found


def interval(values: np.ndarray, runs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean, from samples of runs."""
    names, which = np.unique(runs, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    drawn = np.random.default_rng(0).integers(len(names), size=(SAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def bars(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return by population and rate how far ours lies above the best baseline, network by network."""
    found = []
    for (name, rate), here in rows.groupby(["population", "rate"], sort=True):
        table = here.pivot(index=["network", "run"], columns="scheme", values="agreement").astype(float)
        if OURS not in table or table.shape[1] < 2:
            continue
        table = table.dropna(subset=[OURS]).dropna(axis=1)
        best = str(table[[s for s in BASELINES if s in table]].mean().idxmax())
        gain = (table[OURS] - table[best]).to_numpy()
        low, high = interval(gain, table.index.get_level_values("run").to_numpy())
        ours, theirs = float(table[OURS].mean()), float(table[best].mean())
        wanted = 0.05 if rate <= 2 else 0.0
        found.append(
            {"population": name, "rate": rate, "networks": len(table), "ours": ours, "best": best, "theirs": theirs}
            | {
                "gain": float(gain.mean()),
                "low": low,
                "high": high,
                "share": float(gain.mean()) / max(1 - theirs, 1e-9),
            }
            | {"can_be_had": 1 - theirs >= wanted, "met": bool(gain.mean() >= wanted and (rate < 8 or ours >= 0.99))}
        )
    return found


def foretold(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return by population and rate how often and how much it helped to foretell weights, network by network."""
    found = []
    for (name, rate), here in rows.groupby(["population", "rate"], sort=True):
        table = here.pivot(index=["network", "run"], columns="scheme", values="agreement").astype(float)
        if not {OURS, FORETOLD} <= set(table):
            continue
        gain = (table[FORETOLD] - table[OURS]).dropna()
        low, high = interval(gain.to_numpy(), gain.index.get_level_values("run").to_numpy())
        told = here[here["scheme"] == FORETOLD]
        found.append(
            {"population": name, "rate": rate, "networks": len(gain), "used": int(told["used"].sum())}
            | {"gain": float(gain.mean()), "low": low, "high": high, "least": gain.min(), "most": gain.max()}
            | told[["explained", "side", "expected"]].astype(float).mean().to_dict()
        )
    return found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="*", help="none to read ROWS alone")
    parser.add_argument("--data-dir")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--bits", type=float, nargs="+", default=[1, 2, 3, 4, 8])
    parser.add_argument("--schemes", nargs="+", default=[OURS, *BASELINES], choices=[OURS, NOISE, *BASELINES])
    parser.add_argument("--decoder", help="name or folder; adds the scheme that foretells weights with it")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = read_rows(args.out)
    known = {(r["population"], r["scheme"], r["rate"], r["network"]) for r in rows}
    for name in args.populations:
        with args.out.open("a") as stream:
            for row in measure(find_population(name), args, known):
                rows.append(row)
                stream.write(json.dumps(row) + "\n")
                stream.flush()
    tell(pd.DataFrame(rows), json_form=args.json)


def tell(rows: pd.DataFrame, *, json_form: bool) -> None:
    """Print figures and bars."""
    told = {"rows": summarise(rows), "bars": bars(rows)}
    if FORETOLD in set(rows["scheme"]):
        told["foretold"] = foretold(rows)
    if json_form:
        print(json.dumps(told, indent=1))
        return
    for table in told.values():
        print(pd.DataFrame(table).to_string(index=False, float_format="{:.4f}".format) + "\n")


if __name__ == "__main__":
    main()
