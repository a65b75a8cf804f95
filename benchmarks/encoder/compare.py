"""How well do peers tell a property of networks from their weights? All on the same split, budget and machine.

    python -m benchmarks.encoder.compare mlp_digits --seeds 3 --budget 60 --device cpu --output fits --json

Each fit is kept in `--output` as soon as it is done; called again with the same settings, only what is missing is
fitted. Called several times at once, each process makes other fits, on the accelerator that it sees, and prints the
table when all are done. A peer that can't read a population is listed with the reason.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.encoder.data import STRATA, Networks, PeerError, Wanted, load_splits, strata
from benchmarks.encoder.peers import PEERS
from benchmarks.encoder.results import Fit, add_leads, fit_path, held, read_fit, save_fit, summarise_fits
from weightspace import zoo

COLUMNS = (
    ("tau", "{:.3f}"),
    ("tau_spread", "{:.3f}"),
    ("tau_of_ceiling", "{:.3f}"),
    ("tau_within", "{:.3f}"),
    ("r2", "{:.3f}"),
    ("accuracy", "{:.3f}"),
    ("accuracy_spread", "{:.3f}"),
    ("accuracy_within", "{}"),
    ("interval", "{0[0]:.3f}..{0[1]:.3f}"),
    ("lead", "{:+.3f}"),
    ("lead_interval", "{0[0]:+.3f}..{0[1]:+.3f}"),
    ("parameters", "{:,}"),
    ("seconds", "{:.0f}"),
    ("networks_per_second", "{:,.0f}"),
)


def describe_fit(population: str, peer: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Everything that a fit depends on."""
    manifest = (zoo.load(population).folder / "manifest.parquet").read_bytes()
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu"
    return {
        "population": Path(population).name,
        "manifest": hashlib.sha256(manifest).hexdigest(),
        "peer": peer,
        "seed": seed,
        "budget": args.budget,
        "device": device,
        "target": args.target,
        "classify": args.classify,
        "runs": args.runs,
        "inputs": bool(args.data_dir),
        "strata": args.strata,
        "torch": torch.__version__,
    }


def fit_peer(peer: str, splits: dict[str, Networks], settings: dict[str, Any]) -> Fit:
    """Fit one peer and score the test networks; a refusal is a result too."""
    found: Fit = {"peer": peer, "seed": settings["seed"], "settings": settings}
    test, model = splits["test"], PEERS[peer]()
    start = time.perf_counter()
    try:
        model.fit(splits["train"], splits["validation"], seed=settings["seed"], budget=settings["budget"])
        seconds = time.perf_counter() - start
        model.predict(test)
        start = time.perf_counter()
        told = model.predict(test)
    except PeerError as error:
        return found | {"refused": str(error)}
    return found | {
        "seconds": seconds,
        "networks_per_second": len(test) / (time.perf_counter() - start),
        "parameters": model.parameters,
        "chosen": {key: float(value) for key, value in model.chosen.items()},
        "scores": told.astype(float).round(7).tolist(),
        "target": test.target.cpu().tolist(),
        "runs": test.frame["run"].tolist(),
        "strata": strata(test.frame, settings["strata"]).tolist(),
        "networks": {name: len(each) for name, each in splits.items()},
        "dropped": {name: each.frame.attrs.get("dropped", 0) for name, each in splits.items()},
    }


def fit_peers(population: str, args: argparse.Namespace, *, wait: bool) -> dict[str, list[Fit]]:
    """Make the fits of one population that are missing, and return all that are there by peer.

    Args:
        population: A folder, or a name.
        args: Of the command.
        wait: For fits that other processes are at; else they are passed over.
    """
    splits: dict[str, Networks] = {}
    found: dict[str, list[Fit]] = {peer: [] for peer in args.peers}
    for peer, seed in itertools.product(args.peers, range(args.seeds)):
        if any("refused" in fit for fit in found[peer]):
            continue
        settings = describe_fit(population, peer, seed, args)
        path = fit_path(args.output, settings)
        with held(path, wait=wait) as mine:
            if not mine:
                continue
            if (fit := read_fit(path, settings)) is None:
                if not splits:
                    wanted = Wanted(args.target, args.classify, args.runs, data_dir=args.data_dir)
                    splits |= {name: each.to(args.device) for name, each in load_splits(population, wanted).items()}
                fit = fit_peer(peer, splits, settings)
                save_fit(path, fit)
        found[peer].append(fit)
    return found


def compare_population(population: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the table of one population, once all its fits are there."""
    fits = fit_peers(population, args, wait=True)
    networks = next((fit["networks"] for each in fits.values() for fit in each if "networks" in fit), {})
    rows = [summarise_fits(each, args.draws) for each in fits.values()]
    return {"population": Path(population).name, "networks": networks, "peers": add_leads(rows)}


def print_table(found: dict[str, Any]) -> None:
    """Print one population's peers, a line each."""
    rows = found["peers"]
    columns = [(key, form) for key, form in COLUMNS if any(key in row for row in rows)]
    ceilings = {row["tau_ceiling"] for row in rows if "tau_ceiling" in row}
    print(found["population"], found["networks"], *(f"tau ceiling {x:.4f}" for x in ceilings))
    cells = [["peer", *(key for key, _ in columns)]]
    for row in rows:
        told = [form.format(row[key]) if key in row else "" for key, form in columns]
        cells.append([row["peer"], row["refused"]] if "refused" in row else [row["peer"], *told])
    full = [line for line in cells if len(line) == len(columns) + 1]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)))


def without_nan(found: Any) -> Any:
    """Return plain JSON values, None for what is not a number."""
    if isinstance(found, dict):
        return {key: without_nan(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [without_nan(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+", help="folders, or names of populations that ship")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=120.0, help="seconds a fit, its choices included")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--target", default="test_accuracy", help="column to tell")
    parser.add_argument("--classify", action="store_true", help="the column is a class")
    parser.add_argument("--strata", nargs="+", default=list(STRATA), help="columns of equal hyper-parameters")
    parser.add_argument("--runs", type=int, help="at most so many runs a split")
    parser.add_argument("--data-dir", help="datasets whose training inputs peers may begin at")
    parser.add_argument("--draws", type=int, default=500, help="bootstrap draws of runs")
    parser.add_argument("--output", type=Path, default=Path("build/encoder_fits"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")  # TF32, for every peer
    for population in args.populations:
        fit_peers(population, args, wait=False)
    found = [compare_population(population, args) for population in args.populations]
    if args.json:
        print(json.dumps(without_nan(found), indent=1))
        return
    for each in found:
        print_table(each)


if __name__ == "__main__":
    main()
