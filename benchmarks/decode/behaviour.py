"""Do decoded networks answer as the networks that were encoded? Train a decoder for some seconds and ask.

    python -m benchmarks.decode.behaviour POPULATION ... --encoder NAME --seconds 300 --data-dir DATA --json

Populations of one dataset. The decoder learns from runs of the part `train` and training inputs; everything printed is
of networks of the part `test` on test inputs: agreement with the original (share of equal answers), Cohen's kappa, mean
accuracies and their correlation, mean disagreement between two decoded networks over that between two originals. `own`
is decoded into the architecture of the original, `other` into those of other groups. `equals` is what two originals of
nearly equal accuracy agree.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from benchmarks.encoder.read import View, read_rows
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.decode.target import Target
from weightspace.encode.encoder import Encoder
from weightspace.execute.stack import run_stacked
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program
from weightspace.train.decoder import DecoderTraining, Encoded
from weightspace.zoo.data import load_dataset
from weightspace.zoo.store import Population, find_population

FINISHED = 0.25
"""Accuracy above which a network counts as finished."""


def read_groups(encoder: Encoder, population: Population, part: str, device: str) -> list[Encoded]:
    """Return the networks of a part with their latents, architecture by architecture."""
    found = []
    rows = population.frame(where=[("split", "==", part)])
    for name, same in rows[~rows["diverged"]].groupby("architecture", observed=True, sort=True):
        text = population.program(str(name))
        assert text is not None
        kept, vectors = read_rows(encoder, population, same, View(run=True, device=device))
        weights = {n: t.to(device) for n, t in population.stack(kept).items()}
        target = Target.of(trace_program(Program.from_json(text)))
        found.append(Encoded(vectors.to(device), target, population.module(str(name)).eval().to(device), weights))
    return found


@torch.no_grad()
def ask(network: DecoderNetwork, groups: list[Encoded], inputs: Tensor, own: bool) -> tuple[Tensor, Tensor]:
    """Return the answers of decoded networks and of the originals, `(models, inputs)`."""
    decoded, wanted = [], []
    for i, group in enumerate(groups):
        into = group if own else groups[(i + 1) % len(groups)]
        answers = run_stacked(into.module, network(group.vectors, into.target), inputs)
        decoded.append(answers.argmax(2))
        wanted.append(group.answer(inputs).argmax(2))
    return torch.cat(decoded).cpu(), torch.cat(wanted).cpu()


def score(decoded: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return how alike the answers are, of all networks and of finished ones."""
    ours, theirs = ((x == labels).float().mean(1) for x in (decoded, wanted))
    agreement = (decoded == wanted).float().mean(1)
    found: dict[str, Any] = {
        "networks": len(wanted),
        "agreement": float(agreement.mean()),
        "kappa": float(np.mean([kappa(a, b) for a, b in zip(decoded, wanted, strict=True)])),
        "accuracy": float(ours.mean()),
        "accuracy_of_originals": float(theirs.mean()),
        "correlation": float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]),
        "disagreement_share": disagreement(decoded) / disagreement(wanted),
    }
    finished = theirs >= FINISHED
    if finished.any():
        order = theirs[finished].argsort()
        found["agreement_of_finished"] = float(agreement[finished].mean())
        found["equals_of_finished"] = float(
            np.mean([float((wanted[finished][a] == wanted[finished][b]).float().mean()) for a, b in pairwise(order)])
        )
    return found


def kappa(a: Tensor, b: Tensor) -> float:
    """Cohen's kappa of two lists of classes; 0 where both name one class alone."""
    count = int(max(a.max(), b.max())) + 1
    expected = float((torch.bincount(a, minlength=count) * torch.bincount(b, minlength=count)).sum()) / len(a) ** 2
    return 0.0 if expected == 1 else (float((a == b).float().mean()) - expected) / (1 - expected)


def disagreement(answers: Tensor, pairs: int = 2000) -> float:
    """Share of inputs that two networks answer differently, mean over drawn pairs."""
    generator = Generator().manual_seed(0)
    a, b = (torch.randint(len(answers), (pairs,), generator=generator) for _ in range(2))
    return float((answers[a] != answers[b])[a != b].float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--encoder", default="random-sweep")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--networks", type=int, default=32, help="decoded in an update")
    parser.add_argument("--images", type=int, default=64, help="answered in an update")
    parser.add_argument("--data-dir")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = Encoder.from_pretrained(args.encoder)
    populations = [find_population(name) for name in args.populations]
    parts = {
        part: [g for p in populations for g in read_groups(encoder, p, part, args.device)] for part in ("train", "test")
    }
    data = load_dataset(str(populations[0].frame(["dataset"])["dataset"].iloc[0]), args.data_dir)
    config = DecoderConfig(latent=encoder.network.config.latent)
    network = DecoderNetwork(config, generator=Generator().manual_seed(args.seed)).to(args.device)
    training = DecoderTraining(network, parts["train"], data.x.to(args.device), seed=args.seed)
    start = time.monotonic()
    while (progress := (time.monotonic() - start) / args.seconds) < 1:
        training.advance(progress, networks=args.networks, images=args.images)
    inputs, labels = data.x_test.to(args.device), data.y_test
    found = {
        name: score(*ask(network, parts["test"], inputs, own), labels)
        for name, own in (("own", True), ("other", False))
    }
    told = {"encoder": encoder.id, "updates": training.step, "seconds": args.seconds, **found}
    if args.json:
        print(json.dumps(told, indent=1))
        return
    print(f"{encoder.id}, {training.step} updates in {args.seconds:.0f} s")
    for name, row in found.items():
        print(f"{name:6}" + "".join(f"  {key} {value:.3f}" for key, value in row.items()))


if __name__ == "__main__":
    main()
