"""Is the family tree of a population of known lineage recovered, and do unrelated networks stay apart?

    python -m benchmarks.inspect.lineage POPULATION... [--snapshots POPULATION] [--real DIR] --json

Each population records the parents of its networks (`parent`), as `weightspace zoo build lineage` does; build one with
another seed by a copy of the recipe. Names and order tell nothing: networks are shuffled and get numbers. Reported
over undirected edges: F1, and the share of those found whose direction is right; the share of true roots that have no
parent; the share of merges with both parents. Of a folder of real checkpoints with its `manifest.json`: edges between
different sources of the manifest, which are false. Of a population with several snapshots a run (`--snapshots`): how
many of the steps between them are joined, edges between different runs, which are false, and the share of the others
that run forwards in time; 100 runs are taken. Bars: F1 0.95, direction 0.9, roots 0.9, merges 0.8, no false edge.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from weightspace.inspect.collection import Collection, population_checkpoints, read_collection
from weightspace.inspect.lineage import trace_lineage
from weightspace.zoo.store import find_population

RUNS = 100
BARS = {"f1": 0.95, "direction": 0.9, "roots": 0.9, "merges": 0.8}


def measure(name: str) -> dict:
    """Scores of one population."""
    population = find_population(name)
    rows = population.frame(["id", "parent", "operation", "node"]).set_index("id")
    order = np.random.default_rng(0).permutation(len(rows))
    names = {str(n): rows.index[k] for n, k in enumerate(order)}
    checkpoints = population_checkpoints(population, list(names.values()))
    start = time.perf_counter()
    found = trace_lineage(Collection({n: checkpoints[i] for n, i in names.items()}))
    seconds = time.perf_counter() - start
    parents = {i: [] if not isinstance(p, str) else p.replace(",", " ").split() for i, p in rows["parent"].items()}
    true = {(p, child) for child, ps in parents.items() for p in ps}
    said = {(names[e.parent], names[e.child]) for e in found.edges}
    both, loose = {frozenset(e) for e in true}, {frozenset(e) for e in said}
    hit = both & loose
    roots = [i for i, ps in parents.items() if not ps]
    merges = [i for i, ps in parents.items() if len(ps) > 1]
    told = {names[node] for node in found.roots}
    missed = Counter(f"{rows['node'][p]} -> {rows['node'][c]}" for p, c in true if frozenset((p, c)) not in loose)
    turned = Counter(f"{rows['node'][p]} -> {rows['node'][c]}" for p, c in true if (c, p) in said)
    return {
        "population": population.folder.name,
        "networks": len(rows),
        "f1": 2 * len(hit) / (len(both) + len(loose)),
        "direction": len(true & said) / max(len(hit), 1),
        "roots": sum(i in told for i in roots) / len(roots),
        "false_roots": len(told - set(roots)),
        "merges": sum(all((p, i) in said for p in parents[i]) for i in merges) / max(len(merges), 1),
        "seconds": seconds,
        "missed": dict(missed.most_common()),
        "turned": dict(turned.most_common()),
        "calibration": calibration(found, names, true, both),
    }


def calibration(found, names, true, both) -> dict:
    """Mean confidence and how often it is right, of edges and of directions."""
    edges = [(e.confidence, frozenset((names[e.parent], names[e.child])) in both) for e in found.edges]
    ways = [
        (e.direction, (names[e.parent], names[e.child]) in true)
        for e in found.edges
        if frozenset((names[e.parent], names[e.child])) in both
    ]
    return {
        name: {"said": float(np.mean([s for s, _ in pairs])), "right": float(np.mean([r for _, r in pairs]))}
        for name, pairs in (("edges", edges), ("direction", ways))
        if pairs
    }


def measure_real(folder: Path) -> dict:
    """Edges among real checkpoints, and those between different sources."""
    known = {entry["file"]: entry for entry in json.loads((folder / "manifest.json").read_text())["checkpoints"]}
    paths = {str(folder / file): entry for file, entry in known.items()}
    start = time.perf_counter()
    collection = read_collection(list(paths))
    found = trace_lineage(collection)
    edges = [(paths[e.parent], paths[e.child], e) for e in found.edges]
    return {
        "checkpoints": len(collection.checkpoints),
        "problems": collection.problems,
        "edges": [
            f"{p['id']} -> {c['id']} ({e.operation}, distance {e.distance:.3f}, confidence {e.confidence:.2f}, "
            f"direction {e.direction:.2f})"
            for p, c, e in edges
        ],
        "false_edges": [[p["id"], c["id"]] for p, c, _ in edges if p["source"] != c["source"]],
        "seconds": time.perf_counter() - start,
    }


def measure_snapshots(name: str) -> dict:
    """Edges within and between the first runs of a population, and whether time runs forwards."""
    population = find_population(name)
    rows = population.frame(["id", "run", "epoch", "diverged"])
    rows = rows[~rows["diverged"] & rows["run"].isin(sorted(rows["run"].unique())[:RUNS])].set_index("id")
    start = time.perf_counter()
    found = trace_lineage(Collection(population_checkpoints(population, list(rows.index))))
    inside = [e for e in found.edges if rows["run"][e.parent] == rows["run"][e.child]]
    forwards = [rows["epoch"][e.parent] < rows["epoch"][e.child] for e in inside]
    return {
        "population": population.folder.name,
        "networks": len(rows),
        "steps": len(rows) - rows["run"].nunique(),
        "joined": len(inside),
        "false_edges": len(found.edges) - len(inside),
        "forwards": float(np.mean(forwards)) if forwards else None,
        "direction_said": float(np.mean([e.direction for e in inside])) if inside else None,
        "seconds": time.perf_counter() - start,
    }


def main() -> int:
    """Print a report a population; exit status 1 if a bar is missed in the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="*")
    parser.add_argument("--snapshots", nargs="+", default=[])
    parser.add_argument("--real", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reports = [measure(name) for name in options.populations]
    means = {bar: float(np.mean([r[bar] for r in reports])) for bar in BARS} if reports else {}
    least = {bar: min(r[bar] for r in reports) for bar in BARS} if reports else {}
    whole = {"mean": means, "least": least, "populations": reports}
    if options.snapshots:
        whole["snapshots"] = [measure_snapshots(name) for name in options.snapshots]
    if options.real:
        whole["real"] = measure_real(options.real)
    print(json.dumps(whole, indent=None if options.json else 2))
    met = all(means[bar] >= least_wanted for bar, least_wanted in BARS.items() if means)
    return 0 if met and not whole.get("real", {}).get("false_edges") else 1


if __name__ == "__main__":
    sys.exit(main())
