"""Are the few units named whose incoming weights were retrained, when all units stand elsewhere?

    python -m benchmarks.inspect.diff POPULATION --trials 20 --json

For each trial: a network of the population, 5 of its hidden units drawn from a seed, their incoming weights and bias
moved by a random step of 10 % to 100 % of their length, and then all hidden units put in another order. `diff` names
the changed units of the result; all 5 and nothing else must be named. Bar: in every trial.
"""

import argparse
import json
import sys
from dataclasses import replace

import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.inspect.collection import population_checkpoints
from weightspace.inspect.diff import diff
from weightspace.zoo.store import find_population

UNITS, LEAST, MOST = 5, 0.1, 1.0


def retrain_units(checkpoint: Checkpoint, generator: torch.Generator) -> tuple[Checkpoint, set[tuple[str, int]]]:
    """Move the incoming weights of a few hidden units, as far as the draw says; which they are."""
    graph = build_graph(checkpoint)
    hidden = [(axis.name, k) for axis in graph.axes.values() if axis.role == "hidden" for k in range(axis.size)]
    chosen = {hidden[k] for k in torch.randperm(len(hidden), generator=generator)[:UNITS].tolist()}
    tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    for axis, k in sorted(chosen):
        rows = [
            tensors[b.tensor][k] for b in graph.blocks.values() if b.dims and getattr(b.dims[0], "axis", "") == axis
        ]
        size = torch.sqrt(sum(row.square().sum() for row in rows))
        steps = [torch.randn(row.shape, generator=generator) for row in rows]
        length = torch.sqrt(sum(step.square().sum() for step in steps))
        far = LEAST * 1.05 + (MOST - LEAST) * torch.rand((), generator=generator)
        for row, step in zip(rows, steps, strict=True):
            row += step * (far * size / length)
    return replace(checkpoint, tensors=tensors), chosen


def trial(checkpoint: Checkpoint, generator: torch.Generator) -> dict:
    """Whether exactly the changed units are named, in the numbering of the original."""
    graph = build_graph(checkpoint)
    changed, chosen = retrain_units(checkpoint, generator)
    shuffled = relabel(changed, graph, random_permutations(graph, generator=generator))
    found = diff(checkpoint, shuffled)
    named = {(unit.axis, unit.was) for unit in found.units if unit.state in ("moved", "new")}
    moved = sorted(unit.change for unit in found.units if (unit.axis, unit.was) in chosen)
    return {"exact": named == chosen, "missed": len(chosen - named), "false": len(named - chosen), "moved": moved}


def main() -> int:
    """Print a report; exit status 1 if a trial fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reports = []
    for name in options.populations:
        population = find_population(name)
        generator = torch.Generator().manual_seed(options.seed)
        frame = population.frame(["id", "node", "diverged"])
        ids = sorted(frame["id"][(frame["node"] == "root") & ~frame["diverged"]])
        picked = [
            ids[k % len(ids)] for k in torch.randperm(max(len(ids), options.trials), generator=generator).tolist()
        ]
        networks = population_checkpoints(population, list(dict.fromkeys(picked[: options.trials])))
        floats = {i: replace(c, tensors={n: t.float() for n, t in c.tensors.items()}) for i, c in networks.items()}
        trials = [trial(floats[i], generator) for i in picked[: options.trials]]
        moved = [share for one in trials for share in one["moved"]]
        reports.append(
            {
                "population": population.folder.name,
                "trials": len(trials),
                "exact": sum(one["exact"] for one in trials),
                "missed": sum(one["missed"] for one in trials),
                "false": sum(one["false"] for one in trials),
                "least_moved": min(moved),
                "most_moved": max(moved),
            }
        )
    print(json.dumps(reports, indent=None if options.json else 2))
    return 0 if all(report["exact"] == report["trials"] for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
