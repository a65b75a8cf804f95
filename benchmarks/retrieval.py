"""Do the nearest latents belong together? Beside what a header, and what the statistics of single tensors, can do.

`python -m benchmarks.retrieval DIR --encoder NAME --json`; DIR holds `manifest.json`. Two questions:

1. `groups`: of each checkpoint in a group of at least three, how many of its five nearest among all others are of its
   group (precision at 5), and does their majority name the group (vote)? Groups of fewer than six cannot reach 1.
2. `equal_headers`: the same among checkpoints with the very same tensor names and shapes, where the header says
   nothing. The label is the manifest's group and task (environment, element, corpus). Asked are checkpoints with at
   least one of their label and one of another label in their class; counted is the share of their label among as
   many nearest as there are others of it (R-precision), and whether the nearest one is of it. `chance` is what a
   random order gets.

Every representation is compared by Euclidean distance after standardising each column over all checkpoints, and as it
stands; equal distances are put in random order. Spreads are 95 % intervals of 2,000 bootstrap draws of the asked
checkpoints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.baselines import header_features, seven_statistics
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.encoder import Encoder

NEAREST, SMALLEST, DRAWS = 5, 3, 2000


def main() -> int:
    """Print both answers for every representation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", nargs="*", default=[], help="trained encoders to set beside the random sweep")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    entries = json.loads((options.folder / "manifest.json").read_text())["checkpoints"]
    checkpoints = [load_checkpoint(options.folder / entry["file"]) for entry in entries]
    encoders = [Encoder.from_pretrained(name) for name in ("random-sweep", *options.encoder)]
    spaces = {f"{e.name} latents": e.encode_many(checkpoints).vectors.astype(np.float64) for e in encoders} | {
        "seven statistics a tensor": np.stack([seven_statistics(c) for c in checkpoints]),
        "header alone": np.stack([header_features(c.header) for c in checkpoints]),
    }
    groups = np.array([entry["group"] for entry in entries])
    tasks = np.array([f"{entry['group']}: {entry['task']}" for entry in entries])
    shapes = [str([(i.name, i.shape) for i in c.header.tensors.values()]) for c in checkpoints]
    report: dict[str, object] = {"encoders": [e.id for e in encoders], "checkpoints": len(entries)}
    for name, space in spaces.items():
        for how, x in (("standardised", _standardised(space)), ("as it stands", space)):
            away = np.linalg.norm(x[:, None] - x[None], axis=2)
            np.fill_diagonal(away, np.inf)
            report[f"{name}, {how}"] = {"groups": _groups(away, groups), "equal_headers": _twins(away, tasks, shapes)}
    print(json.dumps(report, indent=None if options.json else 2))
    return 0


def _standardised(x: np.ndarray) -> np.ndarray:
    spread = x.std(0)
    return (x - x.mean(0)) / np.where(spread > 1e-9, spread, np.inf)


def _groups(away: np.ndarray, groups: np.ndarray) -> dict[str, object]:
    counts = Counter(groups.tolist())
    asked = [i for i, group in enumerate(groups) if counts[group] >= SMALLEST]
    precision, votes = [], []
    for i in asked:
        near = groups[np.argsort(away[i], kind="stable")[:NEAREST]]
        precision.append(float(np.mean(near == groups[i])))
        votes.append(float(Counter(near.tolist()).most_common(1)[0][0] == groups[i]))
    ceiling = np.mean([min(NEAREST, counts[groups[i]] - 1) / NEAREST for i in asked])
    found = {"precision_at_5": _spread(precision), "vote": _spread(votes)}
    return found | {"asked": len(asked), "highest_possible_precision": float(ceiling)}


def _twins(away: np.ndarray, labels: np.ndarray, shapes: list[str]) -> dict[str, object]:
    precision, first, chance, generator = [], [], [], np.random.default_rng(0)
    for i, shape in enumerate(shapes):
        others = np.array([j for j, s in enumerate(shapes) if s == shape and j != i], int)
        same = int(np.sum(labels[others] == labels[i])) if len(others) else 0
        if same == 0 or same == len(others):
            continue
        others = generator.permutation(others)
        ranked = labels[others[np.argsort(away[i, others], kind="stable")]] == labels[i]
        precision.append(float(ranked[:same].mean()))
        first.append(float(ranked[0]))
        chance.append(same / len(others))
    found = {"r_precision": _spread(precision), "nearest": _spread(first)}
    return found | {"chance": float(np.mean(chance)), "asked": len(precision)}


def _spread(scores: list[float]) -> dict[str, float]:
    draws = np.random.default_rng(0).choice(scores, (DRAWS, len(scores))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"mean": float(np.mean(scores)), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    sys.exit(main())
