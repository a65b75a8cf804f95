"""Does balancing networks before they are encoded cost what weights alone tell, and what does it cost in time?

    python -m benchmarks.encoder.balanced POPULATION... --json

Networks that positive factors make of each other are balanced to one (`Rescalings.balance`). Gradient boosting reads
seven statistics a tensor (`statnn`), of the weights as they are and of balanced ones, in its middle setting; both are
told the architecture. Held-out runs; `relu` scores those test networks alone that positive factors pass, fitted on all.
`scaled` is the same fit asked of test networks whose units were multiplied by factors of a half to two: as they are,
and balanced. Networks without a rescaling are the same everywhere.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Generator, Tensor

from benchmarks.encoder.data import Group, Networks, Wanted, load_splits
from benchmarks.encoder.scores import accuracy, r2, tau
from benchmarks.encoder.statnn import StatBoosting
from weightspace import zoo
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.scales import Rescalings

TARGETS = {"test_accuracy": False, "optimizer": True, "decade": True, "snapshot": True}


def rescalings_of(name: str) -> dict[str, Rescalings]:
    """Return what can be rescaled in each architecture of a population."""
    population, found = zoo.load(name), {}
    for identity, rows in population.frame().groupby("architecture", observed=True):
        found[str(identity)] = Rescalings.of(build_graph(population.checkpoint(str(rows["id"].iloc[0]))))
    return found


def scaled(weights: dict[str, Tensor], rescalings: Rescalings, generator: Generator) -> dict[str, Tensor]:
    """Multiply what each unit says by a factor of a half to two and divide its readers."""
    models = len(next(iter(weights.values())))
    logs = {
        axis: np.log(2) * (2 * torch.rand(models, units, generator=generator, dtype=torch.float64) - 1)
        for axis, units in rescalings.units.items()
    }
    return rescalings.multiply(weights, logs)


def each_group(networks: Networks, change) -> Networks:
    """Return networks with the stacked weights of each architecture changed."""

    def changed(group: Group) -> Group:
        weights = change(group.weights, group.architecture.identity)
        return replace(
            group, flat=torch.cat([weights[name].flatten(1) for name in group.architecture.layout.shapes], 1)
        )

    return replace(networks, groups=tuple(map(changed, networks.groups)))


def ask(name: str, column: str, seeds: int, rescalings: dict[str, Rescalings]) -> dict[str, object]:
    """Return scores of one target: mean and spread over seeds."""
    classify = TARGETS[column]
    target = "learning_rate" if column == "decade" else column
    splits = load_splits(name, Wanted(target, classify and column != "decade"))
    if column == "decade":
        splits = {split: _decades(networks) for split, networks in splits.items()}
    even = {s: each_group(n, lambda w, i: rescalings[i].balance(w)) for s, n in splits.items()}
    generator = Generator().manual_seed(0)
    other = each_group(splits["test"], lambda w, i: scaled(w, rescalings[i], generator))
    asked = {"plain": (splits, other), "balanced": (even, each_group(other, lambda w, i: rescalings[i].balance(w)))}
    rows = torch.cat([g.rows for g in splits["test"].groups if rescalings[g.architecture.identity].units]).numpy()
    truth, found = splits["test"].target.numpy(), {}
    for kind, (parts, moved) in asked.items():
        scores: dict[str, list[float]] = {}
        for seed in range(seeds):
            model = StatBoosting()
            model.fit(parts["train"], parts["validation"], seed=seed, budget=0)
            told, turned = model.predict(parts["test"]), model.predict(moved)
            for part, those, of in (("all", slice(None), told), ("relu", rows, told), ("scaled", rows, turned)):
                measures = {"accuracy": accuracy} if classify else {"tau": tau, "r2": r2}
                for measure, score in measures.items():
                    scores.setdefault(f"{part} {measure}", []).append(score(truth[those], of[those]))
        found[kind] = {key: [float(np.mean(v)), float(np.std(v))] for key, v in scores.items()}
    return found | {"test networks": len(truth), "of them relu": len(rows)}


def _decades(networks: Networks) -> Networks:
    decade = torch.floor(torch.log10(networks.target.double())).long() + 5
    return replace(networks, target=decade)


def cost(name: str, rescalings: dict[str, Rescalings]) -> dict[str, float]:
    """Return seconds to balance a thousand networks in one stack, the best of three; nothing without rescalings."""
    groups = [g for g in load_splits(name)["train"].groups if rescalings[g.architecture.identity].units]
    if not groups:
        return {}
    weights = {n: t[torch.arange(1000) % len(t)] for n, t in groups[0].weights.items()}
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        rescalings[groups[0].architecture.identity].balance(weights)
        seconds.append(time.perf_counter() - start)
    return {"seconds a thousand": min(seconds)}


def main() -> None:
    """Print what each population's targets lose or gain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in options.populations:
        rescalings = rescalings_of(name)
        told = {column: ask(name, column, options.seeds, rescalings) for column in options.targets}
        report = {"population": name.rsplit("/", 1)[-1], "cost": cost(name, rescalings), **told}
        print(json.dumps(report, indent=None if options.json else 2), flush=True)


if __name__ == "__main__":
    main()
