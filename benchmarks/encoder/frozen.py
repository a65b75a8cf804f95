"""Does one encoder of all populations know what an encoder of one population knows?

    python -m benchmarks.encoder.frozen ENCODER POPULATION ... --alone FITS --device cuda --json

A linear probe (ridge for the test accuracy, logistic for the class of an image) is fitted on the frozen latents of
training runs; its strength is chosen on validation runs, its score is of test runs. FITS is a folder of
`benchmarks.encoder.compare`: its fits of `sweeps+probes` (with `--weights-only`: of `sweeps`), encoders of the same
size trained on that population alone, are set beside it. Bar: 0.97 of their score.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.encoder.data import SPLITS
from benchmarks.encoder.read import View, read_rows
from benchmarks.encoder.results import summarise_fits
from weightspace.encode.encoder import Encoder
from weightspace.zoo.store import Population, find_population

STRENGTHS = tuple(10.0**power for power in range(-3, 4))
TARGETS = {"test_accuracy": (False, "r2"), "label": (True, "accuracy")}
"""Property of a population, the first that it has: whether it is a class, and the score."""

Split = tuple[np.ndarray, np.ndarray]


def read_splits(encoder: Encoder, population: Population, target: str, view: View) -> dict[str, Split]:
    """Return latents `(networks, latent)` and targets of each split."""
    found = {}
    for split in SPLITS:
        rows, vectors = read_rows(encoder, population, population.frame(where=[("split", "==", split)]), view)
        found[split] = vectors.double().numpy(), rows[target].to_numpy()
    return found


def probe(splits: dict[str, Split], classify: bool) -> float:
    """Return the score on test runs of the probe that reads validation runs best."""
    best, chosen = -np.inf, None
    for strength in STRENGTHS:
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=1 / strength, max_iter=500) if classify else Ridge(alpha=strength * 100),
        ).fit(*splits["train"])
        score = model.score(*splits["validation"])
        if score > best:
            best, chosen = score, model
    assert chosen is not None
    return float(chosen.score(*splits["test"]))


def alone(folder: Path | None, population: str, target: str, peer: str) -> float | None:
    """Mean score over seeds of encoders that were trained on one population."""
    paths = sorted(folder.glob(f"{population}.{target}.{peer}.*.json")) if folder else []
    if not paths:
        return None
    return float(summarise_fits([json.loads(path.read_text()) for path in paths], 2)[TARGETS[target][1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--alone", type=Path, help="folder of fits")
    parser.add_argument("--weights-only", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder, found = Encoder.from_pretrained(args.encoder), []
    for name in args.populations:
        population = find_population(name)
        target = next(t for t in TARGETS if t in population.columns)
        splits = read_splits(encoder, population, target, View(not args.weights_only, device=args.device))
        score = probe(splits, TARGETS[target][0])
        peer = "sweeps" if args.weights_only else "sweeps+probes"
        single = alone(args.alone, population.folder.name, target, peer)
        row = {"population": population.folder.name, "target": target, "frozen": score, "alone": single}
        found.append(row | {"share": score / single if single else None})
    print(json.dumps(found, indent=1) if args.json else pd.DataFrame(found).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
