"""Are generated networks a better start for training? Steps to a target, at equal search for the learning rate.

    python -m benchmarks.generate.starts POPULATION [OTHER ...] --encoder FOLDER --decoder FOLDER --data-dir DATA --json

Starts, as many networks each and of one architecture: generated ones asked for the median accuracy; PyTorch's random
ones; the training networks nearest to the generated ones; aligned soups of 16 training networks about the median;
networks about the median of each other population that is named. The target is the 95th percentile of the zoo's test
accuracies. With `--new DATASET`, which no network of the zoo has seen, the target is 0.95 of what random starts reach
at the end. Each start has its own best of the same learning rates, chosen by accuracy on kept-back training examples
along the curve; `soonest` are the fewest steps at any of them, for a rate that is fast at first may never arrive.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator as Random
from torch import Tensor, nn

from benchmarks.generate.quality import ACCURACY
from benchmarks.generate.zoo import Zoo, add_arguments, read_decoder, read_zoo, steer
from weightspace.audit.baselines.pool import Pool
from weightspace.audit.baselines.random_start import draw_start
from weightspace.audit.baselines.retrieval import retrieve
from weightspace.audit.baselines.soup import average_soups
from weightspace.audit.finetune import Curve, Plan, train_rates
from weightspace.decode.decoder import Decoder
from weightspace.graph.trace.program import Program
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

MIDDLE = (0.4, 0.6)
"""Quantiles of accuracy about the median."""
MARKS = (0, 1, 3, 10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1000, 1500, 2000, 3000, 4000)

Starts = dict[str, Mapping[str, Tensor]]


def commonest(zoo: Zoo) -> tuple[str, Pool]:
    """Return the architecture that most training networks have, and these networks."""
    group, pool = max(zoo.pools(np.ones(len(zoo.known.train), bool)), key=lambda pair: len(pair[1]))
    return group.program, pool


def middle(zoo: Zoo, program: str) -> Pool:
    """Return training networks of an architecture about the median of all that did learn something."""
    accuracy = zoo.known.train.accuracy
    low, high = np.quantile(accuracy, MIDDLE)
    meeting = (accuracy >= low) & (accuracy <= high)
    return next(pool for group, pool in zoo.pools(meeting) if group.program == program)


def make_starts(zoo: Zoo, others: list[Zoo], decoder: Decoder, args: argparse.Namespace) -> tuple[str, Starts]:
    """Return the name of the architecture and the starts."""
    program, every = commonest(zoo)
    generator = zoo.fit("flow", [ACCURACY], args.seed)
    accuracy = zoo.table[ACCURACY][zoo.train]
    low, high = np.quantile(accuracy, MIDDLE)
    condition = {ACCURACY: (float(low), float(high))}
    sample = generator.sample(args.count, condition=condition, seed=args.seed, **steer(generator, args))
    places = torch.from_numpy(generator.coordinates.places(sample.vectors))
    group = next(g for g in zoo.groups if g.program == program)
    there = torch.from_numpy(generator.coordinates.places(zoo.table.vectors[zoo.train][group.places]))
    near = torch.cdist(places, there).argmin(1)
    draw = Random().manual_seed(args.seed)
    pool = middle(zoo, program)
    found: Starts = {
        "generated": decoder.decode(sample.vectors, Program.from_json(program)),
        "random": draw_start(every, args.count, draw)[0],
        "nearest training networks": {name: tensor[near] for name, tensor in group.weights.items()},
        "aligned soups": average_soups(pool, args.count, draw)[0],
    }
    for other in others:
        if any(g.program == program or _alike(g.weights, group.weights) for g in other.groups):
            same = next(g for g in other.groups if _alike(g.weights, group.weights))
            found[f"trained on {other.name}"] = retrieve(middle(other, same.program), args.count, draw)[0]
    return str(zoo.table["architecture"][zoo.train][group.places[0]]), found


def _alike(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return {n: t.shape[1:] for n, t in a.items()} == {n: t.shape[1:] for n, t in b.items()}


def module_for(zoo: Zoo, architecture: str, data: Dataset) -> nn.Module:
    """Return a module of an architecture that takes a dataset's inputs."""
    known = zoo.population.architecture(architecture)
    return build_network(known["family"], Signature(tuple(data.x.shape[1:]), data.outputs), known["options"])


def measure(zoo: Zoo, others: list[Zoo], decoder: Decoder, args: argparse.Namespace) -> dict[str, Any]:
    """Return curves and steps of one population."""
    architecture, starts = make_starts(zoo, others, decoder, args)
    data = load_dataset(args.new, args.data_dir) if args.new else zoo.data
    module = module_for(zoo, architecture, data).to(args.device)
    plan = Plan((*(m for m in MARKS if m < args.steps), args.steps), test=args.inputs, seed=args.seed)
    curves = {name: train_rates(module, start, data, plan) for name, start in starts.items()}
    target = float(np.quantile(zoo.known.train.accuracy, 0.95))
    if args.new:
        target = 0.95 * float(curves["random"][0].mean[-1])
    return {
        "population": zoo.name,
        "dataset": args.new or data.name,
        "target": target,
        "networks": args.count,
        "starts": {name: _told(tried, target, curves["random"]) for name, tried in curves.items()},
    }


def _told(tried: list[Curve], target: float, random: list[Curve]) -> dict[str, Any]:
    curve, first = tried[0], min(tried, key=lambda c: c.steps_to(target))
    steps, soonest = curve.steps_to(target), first.steps_to(target)
    return {
        "steps": steps if np.isfinite(steps) else None,
        "share_of_random": _share(steps, random[0].steps_to(target)),
        "rate": curve.rate,
        "soonest": soonest if np.isfinite(soonest) else None,
        "soonest_share": _share(soonest, min(c.steps_to(target) for c in random)),
        "soonest_rate": first.rate,
        "first": float(curve.mean[0]),
        "last": float(curve.mean[-1]),
        "area": float(curve.mean.mean()),
        "curve": dict(zip(map(str, curve.steps), curve.mean.tolist(), strict=True)),
    }


def _share(steps: float, base: float) -> float | None:
    return steps / base if np.isfinite([steps, base]).all() and base > 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.set_defaults(count=16)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--new", help="a dataset that no network of the zoo has seen")
    args = parser.parse_args()
    decoder = read_decoder(args)
    zoo, *others = (read_zoo(name, decoder, args) for name in args.populations)
    found = measure(zoo, others, decoder, args)
    if args.json:
        print(json.dumps({"encoder": args.encoder, "decoder": decoder.id} | found, indent=1))
        return
    print(f"{found['population']} on {found['dataset']}: steps to {found['target']:.3f}")
    for name, row in found["starts"].items():
        keys = ("steps", "share_of_random", "soonest", "soonest_share")
        steps, share, soonest, part = (f"{row[k]:.3g}" if row[k] is not None else "never" for k in keys)
        curve = " ".join(f"{step}:{value:.3f}" for step, value in row["curve"].items())
        print(f"{name:34} {steps:>8} steps, {share} of random's, rate {row['rate']:g}  {curve}")
        print(f"{'':34} {soonest:>8} steps, {part} of random's, at the rate that is there soonest")


if __name__ == "__main__":
    main()
