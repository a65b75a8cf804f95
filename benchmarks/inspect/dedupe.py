"""Are hidden copies found among thousands of networks, and nothing else?

    python -m benchmarks.inspect.dedupe POPULATION... --networks 2000 --copies 200 --json

Takes the last snapshot of each run of the populations, so many networks in all, and hides copies of some of them,
drawn from a seed. Every copy has its hidden units in another order. Of four kinds, in turn: nothing more; 1 % noise
(of each tensor's deviation); each output's weights rounded to 8 bits; all rounded to half precision (their originals
get single precision first). Where the program shows that positive factors pass (ReLU), its units are also rescaled by
factors of 1/4 to 4, before noise and rounding. Precision and recall count pairs. Bars: precision 0.99, recall 0.98, 60
seconds on two cores for the search, the reading of the files not included.
"""

import argparse
import json
import sys
import time
from dataclasses import replace

import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import parent_sizes, random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.symmetry.rescale import rescale, scalable
from weightspace.inspect.collection import Collection, population_checkpoints
from weightspace.inspect.dedupe import find_duplicates
from weightspace.zoo.store import find_population

KINDS = ("as it is", "1 % noise", "8 bits", "float16")
PRECISION, RECALL, SECONDS = 0.99, 0.98, 60.0


def last_snapshots(names: list[str], networks: int) -> dict[str, Checkpoint]:
    """The last snapshot of each run that did not diverge, in single precision."""
    found: dict[str, Checkpoint] = {}
    for name in names:
        population = find_population(name)
        frame = population.frame(["id", "run", "epoch", "diverged", "node"])
        frame = frame[~frame["diverged"] & (frame["node"] == "root")].sort_values("epoch").groupby("run").tail(1)
        for identity, checkpoint in population_checkpoints(population, sorted(frame["id"])).items():
            tensors = {n: t.float() if t.is_floating_point() else t for n, t in checkpoint.tensors.items()}
            found[f"{population.folder.name}:{identity}"] = replace(checkpoint, tensors=tensors)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0)).tolist()[:networks]
    chosen = list(found)
    return {chosen[k]: found[chosen[k]] for k in order}


def disguise(checkpoint: Checkpoint, kind: str, generator: torch.Generator) -> tuple[Checkpoint, bool]:
    """A copy in another order and scale, and whether it could be rescaled."""
    graph = build_graph(checkpoint)
    copy = relabel(checkpoint, graph, random_permutations(graph, generator=generator))
    axes = [axis for axis, passes in scalable(graph).items() if passes != "sign"]
    shapes = {axis: (*parent_sizes(graph, axis), graph.axes[axis].size) for axis in axes}
    copy = rescale(copy, graph, {a: 4.0 ** (2 * torch.rand(s, generator=generator) - 1) for a, s in shapes.items()})
    change = {
        "as it is": lambda tensor: tensor,
        "1 % noise": lambda tensor: noised(tensor, generator),
        "8 bits": rounded,
        "float16": lambda tensor: tensor.half(),
    }[kind]
    return replace(copy, tensors={n: change(t) for n, t in copy.tensors.items()}), bool(axes)


def noised(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """1 % of the tensor's deviation added to each number."""
    return tensor + 0.01 * tensor.std() * torch.randn(tensor.shape, generator=generator)


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Each output's weights on 255 levels."""
    if tensor.ndim < 2:
        return tensor
    step = tensor.flatten(1).abs().amax(1).clamp(min=1e-12).view(-1, *[1] * (tensor.ndim - 1)) / 127
    return (tensor / step).round() * step


def single_precision(checkpoint: Checkpoint, generator: torch.Generator) -> Checkpoint:
    """Random digits below those of half precision, so that rounding to it changes something."""
    tensors = checkpoint.tensors.items()
    blur = {n: t * (1 + 2.0**-12 * (torch.rand(t.shape, generator=generator) - 0.5)) for n, t in tensors}
    return replace(checkpoint, tensors=blur)


def hide(originals: dict[str, Checkpoint], copies: int, seed: int) -> tuple[dict[str, Checkpoint], dict]:
    """Originals with hidden copies among them; for each copy its original, kind and whether it was rescaled."""
    generator = torch.Generator().manual_seed(seed)
    names, found, truth = list(originals), dict(originals), {}
    for n, k in enumerate(torch.randperm(len(names), generator=generator)[:copies].tolist()):
        kind = KINDS[n % len(KINDS)]
        if kind == "float16":
            found[names[k]] = single_precision(found[names[k]], generator)
        found[f"copy {n}"], scaled = disguise(found[names[k]], kind, generator)
        truth[f"copy {n}"] = (names[k], kind, scaled)
    order = list(found)
    return {order[k]: found[order[k]] for k in torch.randperm(len(order), generator=generator).tolist()}, truth


def measure(originals: dict[str, Checkpoint], copies: int, seed: int) -> dict:
    """Precision, recall and seconds of one draw."""
    checkpoints, truth = hide(originals, copies, seed)
    start, used = time.perf_counter(), time.process_time()
    found = find_duplicates(Collection(checkpoints))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    wanted = {frozenset((copy, original)) for copy, (original, _, _) in truth.items()}
    pairs = {frozenset((pair.a, pair.b)): pair for pair in found.pairs}
    right = wanted & pairs.keys()
    report = {
        "seed": seed,
        "networks": len(originals),
        "copies": len(truth),
        "precision": len(right) / max(len(pairs), 1),
        "recall": len(right) / len(wanted),
        "seconds": seconds,
        "processor_seconds": used,
        "largest_distance": max((pairs[p].distance for p in right), default=None),
        "false": sorted((pair.distance, pair.a, pair.b) for key, pair in pairs.items() if key not in wanted)[:10],
    }
    for kind in KINDS:
        for scaled in (False, True):
            here = [frozenset((c, o)) for c, (o, k, s) in truth.items() if (k, s) == (kind, scaled)]
            if here:
                name = f"{kind}{', rescaled' if scaled else ''}"
                report[name] = f"{len(set(here) & right)} of {len(here)}"
                report[f"{name}: said"] = sorted({pairs[p].kind for p in here if p in pairs})
    return report


def main() -> int:
    """Print a report a seed; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    originals = last_snapshots(options.populations, options.networks)
    reports = [measure(originals, options.copies, seed) for seed in options.seeds]
    print(json.dumps(reports, indent=None if options.json else 2))
    met = [r["precision"] >= PRECISION and r["recall"] >= RECALL and r["seconds"] <= SECONDS for r in reports]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
