"""Calibrate an encoder again on the networks of populations: how much answers count, intervals, novelty; no weights.

    python -m benchmarks.encoder.calibrate ENCODER POPULATION ... --out OUT --device cuda

Margins are those of the parts `validation`, novelty is measured from the parts `train`, both with networks run on the
probes and without. Printed is the share of networks of the parts `test` whose accuracy (or class) the intervals hold,
by the margins from before and by the new ones.
"""

from __future__ import annotations

import argparse

import pandas as pd
import torch
from torch import Tensor

from benchmarks.encoder.read import View, read_rows
from weightspace.encode.encoder import Encoder
from weightspace.encode.predictor import Predictor
from weightspace.encode.properties import WIRINGS, read_targets
from weightspace.train.predict import MAIN
from weightspace.zoo.store import Population, find_population

Part = tuple[Tensor, dict[str, Tensor]]


def read_part(encoder: Encoder, populations: list[Population], part: str, device: str) -> Part:
    """Return vectors and targets of the networks of a part, run and not; NaN where a target is not known."""
    assert encoder.predictor is not None
    vectors, frames = [], []
    for population in populations:
        for run in (True, False):
            rows = population.frame(where=[("split", "==", part)])
            rows, found = read_rows(encoder, population, rows, View(run, device=device))
            vectors.append(found)
            frames.append(rows)
    rows = pd.concat(frames, ignore_index=True)
    read = read_targets(rows, encoder.predictor.classes)
    known = {name: torch.tensor(values, dtype=torch.float32) for name, values in read.items()}
    known["wiring"] = torch.full((len(rows),), float(WIRINGS.index("whole")))
    return torch.cat(vectors), known


def coverage(predictor: Predictor, vectors: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
    """Share of networks whose main properties the intervals or choices hold."""
    told, found = predictor.predict(vectors), {}
    for name in MAIN:
        pairs = [(t, y) for t, y in zip(told, targets.get(name, torch.empty(0)).tolist(), strict=False) if y == y]
        if name in predictor.classes:
            held = [predictor.classes[name][int(y)] in t.choices[name] for t, y in pairs]
        else:
            held = [t.intervals[name][0] <= y <= t.intervals[name][1] for t, y in pairs]
        if held:
            found[name] = sum(held) / len(held)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    encoder, populations = Encoder.from_pretrained(args.encoder), [find_population(name) for name in args.populations]
    predictor = encoder.predictor
    assert predictor is not None
    tests = [(p.folder.name, read_part(encoder, [p], "test", args.device)) for p in populations]
    for name, part in tests:
        print(name, "before", coverage(predictor, *part))
    learned, _ = read_part(encoder, populations, "train", args.device)
    predictor.calibrate(learned, *read_part(encoder, populations, "validation", args.device))
    encoder.save(args.out)
    for name, part in tests:
        print(name, "after", coverage(predictor, *part))


if __name__ == "__main__":
    main()
