"""Do decoded networks answer as the networks that were encoded? Bars 1, 2 and 4 of the functional decoder.

    python -m benchmarks.decode.behaviour DECODER POPULATION ... --encoder NAME --data-dir DATA [--device cuda] [--json]

Networks of the part `test` on test inputs, which neither encoder nor decoder saw: agreement with the original (share of
equal answers), Cohen's kappa, mean accuracies and their correlation, mean disagreement between two decoded networks
over that between two originals; all of it of all networks and of finished ones (accuracy at least 0.25). `equals` is
what two originals of nearly equal accuracy agree.

Rows: `own` architecture; the same from latents of 8 bits a number; half, double and four times the width; one layer
deeper; a perceptron; widths that the decoder never learned (12 and 24). `share` is the agreement over that of `own`.
With `--distil N`, N finished originals are also distilled straight into each architecture, on the inputs that the
decoder learned from: `distilled` is what that reaches on the same networks, and `of_distilled` decoded over distilled.
With `--refine N` and `--polish N` latents are refined, or decoded weights polished, towards the originals' answers to
training inputs: rows of their own, no part of the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from benchmarks.decode.distil import distil
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.execute.pieces import run_in_pieces
from weightspace.train.decoder_data import dataset_of, draw_inputs, read_stacks
from weightspace.train.into import Into, Menu
from weightspace.train.polish import polish
from weightspace.train.refine import refine_latents
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.stacks import Stack, encode_stack
from weightspace.zoo.store import Population, find_population

FINISHED = 0.25
"""Accuracy from which a network counts as finished."""
REACH, LEVELS = 4.0, 255
"""Deviations that numbers of 8 bits reach on either side of the mean, and their steps."""
TOGETHER = 128


@dataclass(frozen=True)
class Asking:
    """How networks are asked.

    Args:
        data_dir: Folder of dataset files.
        device: Where.
        images: Test inputs, at most.
        distil: Finished networks that are distilled, of each architecture.
        steps: Of distillation.
        refine: Updates of latents through the decoder; 0 for no such row.
        polish: Updates of decoded weights; 0 for no such row.
        rows: Names of the rows to measure; all if empty.
    """

    data_dir: str | None = None
    device: str = "cpu"
    images: int = 10_000
    distil: int = 0
    steps: int = 1000
    refine: int = 0
    polish: int = 0
    rows: tuple[str, ...] = ()


def rounded(decoder: Decoder, vectors: Tensor) -> Tensor:
    """Return vectors whose numbers have 8 bits each."""
    mean, spread = decoder.network.mean.to(vectors), decoder.network.spread.to(vectors) * REACH
    steps = ((vectors - mean) / spread).clamp(-1, 1) * LEVELS / 2
    return mean + steps.round() * 2 / LEVELS * spread


def others(known: Mapping[str, Any], menu: Menu) -> dict[str, Into]:
    """Return the architectures that networks of one are decoded into beside their own."""
    family, options = known["family"], {"depth": 3} | dict(known["options"])
    width = options["width"]
    found = {f"width x {factor}": options | {"width": int(width * factor)} for factor in (0.5, 2, 4)}
    found["one layer deeper"] = options | {"depth": options["depth"] + 1}
    found |= {f"width {unseen}, never seen": options | {"width": unseen} for unseen in (12, 24)}
    intos = {name: menu.into(family, chosen) for name, chosen in found.items()}
    perceptron = {"width": 64, "depth": 2, "activation": options["activation"]}
    return intos if family == "mlp" else intos | {"perceptron": menu.into("mlp", perceptron)}


@torch.no_grad()
def answers_of(decoder: Decoder, vectors: Tensor, into: Into, inputs: Tensor) -> Tensor:
    """Return the classes that decoded networks answer, `(models, inputs)`."""
    found = []
    for part in vectors.split(TOGETHER):
        weights = decoder.network(part, into.target)
        found += [classes(run_in_pieces(into.module, weights, inputs))]
    return torch.cat(found)


def classes(logits: Tensor) -> Tensor:
    """Return the class of each answer, as bytes on the CPU."""
    return logits.argmax(2).to("cpu", torch.uint8)


def measure(decoder: Decoder, encoder: Encoder, population: Population, asking: Asking) -> dict[str, dict[str, float]]:
    """Return the scores of each row for one population."""
    data = load_dataset(dataset_of(population), asking.data_dir)
    inputs, labels = data.x_test[: asking.images].to(asking.device), data.y_test[: asking.images]
    decoder.network.to(asking.device)
    menu = Menu.of(data.signature, asking.device)
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
    told: dict[str, list[dict[str, Any]]] = {}
    for stack in read_stacks(population, "test", asking.device):
        vectors = encode_stack(encoder, stack)
        wanted = torch.cat([classes(run_in_pieces(stack.module, part, inputs)) for part in _parts(stack.weights)])
        own = Into.of(stack.program, stack.module)
        rows = {"own": (vectors, own), "own, 8 bits": (rounded(decoder, vectors), own)}
        known = population.architecture(str(stack.rows["architecture"].iloc[0]))
        rows |= {name: (vectors, into) for name, into in others(known, menu).items()}
        for name, answers in _improved(decoder, stack, (vectors, own), (data, asking)).items():
            pairs.setdefault(name, []).append((answers, wanted))
        for name, (given, into) in rows.items():
            if asking.rows and name not in asking.rows:
                continue
            decoded = answers_of(decoder, given, into, inputs)
            pairs.setdefault(name, []).append((decoded, wanted))
            if asking.distil and "bits" not in name:
                picked = ((wanted == labels).float().mean(1) >= FINISHED).nonzero().flatten()[: asking.distil]
                told.setdefault(name, []).append(_beside(stack, into, (decoded, wanted, picked), (data, asking)))
    found = {name: score(*(torch.cat(x) for x in zip(*found, strict=True)), labels) for name, found in pairs.items()}
    for name, row in found.items():
        row["share"] = row["agreement"] / found["own"]["agreement"] if "own" in found else float("nan")
        if name in told:
            row |= {key: float(np.mean([x[key] for x in told[name] if x])) for key in ("distilled", "of_distilled")}
    return found


def _improved(
    decoder: Decoder, stack: Stack, given: tuple[Tensor, Into], where: tuple[Dataset, Asking]
) -> dict[str, Tensor]:
    """What networks answer whose latents were refined, and whose weights were polished."""
    (vectors, own), (data, asking) = given, where
    if not (asking.refine or asking.polish):
        return {}
    pool = draw_inputs(data, [], 8192, Generator().manual_seed(0)).to(asking.device)
    with torch.no_grad():
        logits, weights = run_in_pieces(stack.module, stack.weights, pool), decoder.network(vectors, own.target)
    inputs, found = data.x_test[: asking.images].to(asking.device), {}
    if asking.refine:
        moved = refine_latents(decoder, vectors, own, pool, logits, steps=asking.refine)
        found[f"own, refined {asking.refine}"] = answers_of(decoder, moved, own, inputs)
    if asking.polish:
        better = polish(own.module, weights, pool, logits, steps=asking.polish)
        found[f"own, polished {asking.polish}"] = classes(run_in_pieces(own.module, better, inputs))
    return found


def _beside(
    stack: Stack, into: Into, asked: tuple[Tensor, Tensor, Tensor], where: tuple[Dataset, Asking]
) -> dict[str, float]:
    """What distilling some networks straight into an architecture reaches, and what decoding reaches of it."""
    (decoded, wanted, picked), (data, asking) = asked, where
    if not len(picked):
        return {}
    weights = {name: t[picked.to(t.device)] for name, t in stack.weights.items()}
    pool = draw_inputs(data, [], 8192, Generator().manual_seed(0)).to(asking.device)
    with torch.no_grad():
        logits = run_in_pieces(stack.module, weights, pool)
    student = distil(into.module, logits, pool, steps=asking.steps)
    with torch.no_grad():
        found = classes(run_in_pieces(into.module, student, data.x_test[: asking.images].to(asking.device)))
    reached = float((found == wanted[picked]).float().mean())
    return {"distilled": reached, "of_distilled": float((decoded[picked] == wanted[picked]).float().mean()) / reached}


def _parts(weights: Mapping[str, Tensor]) -> Iterable[dict[str, Tensor]]:
    models = len(next(iter(weights.values())))
    return ({n: t[i : i + TOGETHER] for n, t in weights.items()} for i in range(0, models, TOGETHER))


def score(decoded: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, float]:
    """Return how alike the answers are, of all networks and of finished ones."""
    found = _score(decoded, wanted, labels)
    theirs = (wanted == labels).float().mean(1)
    finished = theirs >= FINISHED
    if finished.sum() > 2:
        some = _score(decoded[finished], wanted[finished], labels)
        found |= {f"{name}_of_finished": value for name, value in some.items()}
        order = theirs[finished].argsort()
        near = [float((wanted[finished][a] == wanted[finished][b]).float().mean()) for a, b in pairwise(order)]
        found["equals_of_finished"] = float(np.mean(near))
    return found


def _score(decoded: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, float]:
    ours, theirs = ((x == labels).float().mean(1) for x in (decoded, wanted))
    return {
        "networks": len(wanted),
        "agreement": float((decoded == wanted).float().mean()),
        "kappa": float(np.mean([kappa(a, b) for a, b in zip(decoded, wanted, strict=True)])),
        "accuracy": float(ours.mean()),
        "accuracy_of_originals": float(theirs.mean()),
        "correlation": float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]),
        "disagreement_share": disagreement(decoded) / disagreement(wanted),
    }


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


SHOWN = {
    "agreement": "agrees",
    "agreement_of_finished": "finished",
    "kappa": "kappa",
    "accuracy": "accuracy",
    "accuracy_of_originals": "originals",
    "correlation": "r",
    "disagreement_share": "diversity",
    "share": "share",
    "equals_of_finished": "equals",
    "distilled": "distilled",
    "of_distilled": "of it",
}


def tell(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print a table a population."""
    for name, rows in found.items():
        print(f"{name}: {next(iter(rows.values()))['networks']:.0f} networks")
        shown = [key for key in SHOWN if any(key in row for row in rows.values())]
        print(" " * 22 + "".join(f"{SHOWN[key]:>11}" for key in shown))
        for row, values in rows.items():
            print(f"  {row:20}" + "".join(f"{values.get(key, float('nan')):11.3f}" for key in shown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decoder")
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=10_000, help="test inputs, at most")
    parser.add_argument("--distil", type=int, default=0, help="finished networks to distil, of each architecture")
    parser.add_argument("--steps", type=int, default=1000, help="of distillation")
    parser.add_argument("--refine", type=int, default=0, help="updates of latents, a row of its own")
    parser.add_argument("--polish", type=int, default=0, help="updates of decoded weights, a row of its own")
    parser.add_argument("--rows", nargs="*", default=[], help="names of the rows to measure")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    decoder, encoder = Decoder.from_pretrained(args.decoder), Encoder.from_pretrained(args.encoder)
    decoder.check_encoder(encoder.id)
    steps = {"steps": args.steps, "refine": args.refine, "polish": args.polish}
    asking = Asking(args.data_dir, args.device, args.images, args.distil, rows=tuple(args.rows), **steps)
    populations = [find_population(name) for name in args.populations]
    found = {p.folder.name: measure(decoder, encoder, p, asking) for p in populations}
    if args.json:
        told = {"decoder": decoder.id, "encoder": encoder.id, "images": args.images, "found": found}
        print(json.dumps(told, indent=1))
        return
    print(f"{decoder.id}, latents of {encoder.id}")
    tell(found)


if __name__ == "__main__":
    main()
