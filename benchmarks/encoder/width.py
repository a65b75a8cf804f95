"""Does an encoder read networks wider than those it was trained on?

    python -m benchmarks.encoder.width ENCODER POPULATION ... --trained smallcnn_widths --device cuda --json

R2 and Kendall's tau of the predicted test accuracy of held-out runs: as they are, widened 2, 4 and 8 times with their
function kept (even: copies of units share their outgoing weights evenly; uneven: every weight is split at random), and
of networks trained at other widths (populations after `--trained`, all of their runs), width by width.
"""

from __future__ import annotations

import argparse
import json
from itertools import product

import pandas as pd
import torch
from torch import Tensor

from benchmarks.encoder.read import View, read_rows
from benchmarks.encoder.scores import r2, tau
from weightspace.encode.encoder import Encoder
from weightspace.zoo.store import find_population

FACTORS = (2, 4, 8)


def score(encoder: Encoder, frame: pd.DataFrame, vectors: Tensor) -> dict[str, float]:
    """R2 and tau of the accuracy that the encoder reads off vectors."""
    assert encoder.predictor is not None
    with torch.no_grad():
        told = encoder.predictor(vectors)["test_accuracy"].numpy()
    truth = frame["test_accuracy"].to_numpy(float)
    return {"networks": len(frame), "r2": r2(truth, told), "tau": tau(truth, told)}


def widened(encoder: Encoder, name: str, device: str) -> list[dict[str, object]]:
    """Scores of held-out runs of one population at every factor."""
    population = find_population(name)
    rows = population.frame(where=[("split", "==", "test")])
    found: list[dict[str, object]] = []
    for run, (factor, uneven) in product((True, False), [(1, False), *product(FACTORS, (False, True))]):
        scores = score(encoder, *read_rows(encoder, population, rows, View(run, factor, uneven, device)))
        if factor == 1:
            before = scores["r2"]
        told = {"population": population.folder.name, "run": run, "factor": factor, "uneven": uneven}
        found.append(told | scores | {"loss_of_r2": before - scores["r2"]})
    return found


def trained(encoder: Encoder, name: str, device: str) -> list[dict[str, object]]:
    """Scores of networks trained at each width of one population."""
    population, found = find_population(name), list[dict[str, object]]()
    for run, (width, rows) in product((True, False), population.frame().groupby("width")):
        scores = score(encoder, *read_rows(encoder, population, rows, View(run, device=device)))
        found.append({"population": population.folder.name, "run": run, "width": int(width), **scores})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("populations", nargs="*")
    parser.add_argument("--trained", nargs="*", default=[], help="populations of networks trained at several widths")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = Encoder.from_pretrained(args.encoder)
    found = [row for name in args.populations for row in widened(encoder, name, args.device)]
    found += [row for name in args.trained for row in trained(encoder, name, args.device)]
    print(json.dumps(found, indent=1) if args.json else pd.DataFrame(found).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
