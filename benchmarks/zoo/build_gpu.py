"""Build the Small CNN populations on one accelerator and print how fast and how good they are.

    python -m benchmarks.zoo.build_gpu --data-dir DATA --out OUT

Runs from the root of the repository, installed or not; needs torch, numpy, pandas, pyarrow, safetensors, PyYAML and
jaxtyping, and Pillow for CIFAR-10. Results are written to OUT/build_gpu.json after the measurement of speed and after
each population, beside those of earlier calls with the same OUT; manifests are copied beside it.

Several accelerators: one process each, with its own CUDA_VISIBLE_DEVICES, OUT and part of the `--recipes`, and
`--no-speed` for all but one. `--recipes` without a name measures the speed alone. `--processes N` builds each
population in N processes over all accelerators that there are (see `benchmarks.zoo.shares`), `--seconds S` what is
finished by then.
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.zoo.shares import Sharing, build_in_shares
from benchmarks.zoo.speed import measure_speed, name_device
from weightspace.zoo.build import Progress, Site
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import load_recipe

FOLDER = Path(__file__).resolve().parents[2] / "model_zoo" / "recipes"
RECIPES = ("smallcnn_mnist", "smallcnn_fashion", "smallcnn_usps", "smallcnn_cifar10", "smallcnn_cifar10_5000")
BARS = {name: 60.0 for name in RECIPES} | {"smallcnn_cifar10_5000": 540.0}


def describe_population(population, classes: int = 10) -> dict[str, object]:
    """Quantiles of finished runs, share of collapsed (accuracy within 2 points of chance) and divergent ones.

    Of test accuracy, or of peak signal-to-noise ratio in decibels where networks are images.
    """
    measure = "test_accuracy" if "test_accuracy" in population.columns else "psnr"
    frame = population.frame(["snapshot", measure, "diverged"])
    last = frame[frame.snapshot == frame.snapshot.max()]
    finished = last[~last.diverged][measure]
    return {
        "checkpoints": len(frame),
        "measure": measure,
        "quantiles": [float(finished.quantile(q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)],
        "median": float(finished.median()),
        "best": float(finished.max()),
        "collapsed": float((last[measure] < 1 / classes + 0.02).mean()),
        "divergent": float(last.diverged.mean()),
    }


def build_one(name: str, args: argparse.Namespace) -> dict[str, object]:
    """Build one population from nothing, timed; data loading and writing included."""
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    if args.tiny:
        recipe = replace(recipe, runs=24, snapshots=(0.02, 0.05), batch_size=64)
    folder = Path(args.out) / "populations" / name
    shutil.rmtree(folder, ignore_errors=True)
    start = time.monotonic()
    if args.processes > 1:
        sharing = Sharing(args.processes, args.data_dir, args.device, args.seconds, args.cudnn_benchmark)
        population = build_in_shares(recipe, folder, sharing)
    else:
        population = populate(recipe, Site(folder, data_dir=args.data_dir, device=args.device, progress=Teller(name)))
    seconds = time.monotonic() - start
    shutil.copy(folder / "manifest.parquet", Path(args.out) / f"{name}.parquet")
    found = {
        "recipe": name,
        "runs": population.frame(["run"])["run"].nunique(),
        "seconds": seconds,
        "bar": BARS.get(name),
    }
    return found | {"device": name_device(args.device)} | describe_population(population)


class Teller:
    """Says every ten seconds how far a build is."""

    def __init__(self, name: str):
        self.name, self.told = name, time.monotonic()

    def __call__(self, at: Progress) -> None:
        """Say it, if ten seconds have gone since."""
        if time.monotonic() - self.told > 10:
            self.told = time.monotonic()
            print(
                f"{self.name}: {at.done:.0f} of {at.total}, {at.seconds_left:.0f} s left", file=sys.stderr, flush=True
            )


def read_results(out: str) -> dict:
    """Return what earlier calls with the same folder found."""
    path = Path(out) / "build_gpu.json"
    return json.loads(path.read_text()) if path.exists() else {"speed": None, "populations": []}


def write_results(out: str, results: dict) -> None:
    """Write all results, whole: a kill while writing leaves those before."""
    draft = Path(out) / "build_gpu.json.tmp"
    draft.write_text(json.dumps(results, indent=1))
    draft.replace(draft.with_suffix(""))


def print_table(results: dict) -> None:
    if speed := results["speed"]:
        print(
            f"\n{speed['device']}: {speed['network_images_per_second'] / 1e6:.2f} M network-images a second (bar 3.5),"
        )
        print(f"  {speed['share_of_flops']:.1%} of measured FLOP/s, {speed['share_of_bytes']:.1%} of measured bytes/s")
    print(f"{'population':24}{'runs':>6}{'s':>8}{'bar':>6}{'median':>8}{'best':>7}{'collapsed':>11}{'divergent':>11}")
    for row in results["populations"]:
        print(
            f"{row['recipe']:24}{row['runs']:6}{row['seconds']:8.1f}{row['bar'] or 0:6.0f}{row['median']:8.3f}"
            f"{row['best']:7.3f}{row['collapsed']:11.3f}{row['divergent']:11.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--tiny", action="store_true", help="24 runs and a few steps each: a rehearsal")
    parser.add_argument("--processes", type=int, default=1, help="that build a population between them")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="that processes have for a population")
    parser.add_argument("--no-speed", action="store_true", help="build populations only")
    parser.add_argument("--cudnn-benchmark", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = args.cudnn_benchmark
    Path(args.out).mkdir(parents=True, exist_ok=True)
    results = read_results(args.out)
    if not args.no_speed:
        networks, batch = (8, 4) if args.tiny else (500, 128)
        results["speed"] = measure_speed(networks, batch, args.device, 1.0 if args.tiny else 5.0)
        print(json.dumps(results["speed"]), flush=True)
        write_results(args.out, results)
    for name in args.recipes:
        row = build_one(name, args)
        print(json.dumps(row), flush=True)
        results["populations"] = [old for old in results["populations"] if old["recipe"] != name] + [row]
        write_results(args.out, results)
    print(json.dumps(results)) if args.json else print_table(results)


if __name__ == "__main__":
    main()
