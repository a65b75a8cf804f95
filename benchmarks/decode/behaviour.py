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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from benchmarks.decode.distil import distil
from weightspace.audit.agreement import FINISHED, compare_answers
from weightspace.audit.decoding import Asked, Held, classes, decoded_answers, read_held, with_shares
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.execute.pieces import run_in_pieces
from weightspace.train.decoder_data import dataset_of, draw_inputs
from weightspace.train.into import Into
from weightspace.train.polish import polish
from weightspace.train.refine import refine_latents
from weightspace.zoo.data import load_dataset
from weightspace.zoo.store import Population, find_population


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


def measure(decoder: Decoder, encoder: Encoder, population: Population, asking: Asking) -> dict[str, dict[str, float]]:
    """Return the scores of each row for one population."""
    asked = Asked(load_dataset(dataset_of(population), asking.data_dir), asking.images, asking.device)
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
    told: dict[str, list[dict[str, Any]]] = {}
    for held in read_held(decoder, encoder, population, asked):
        wanted = held.wanted
        for name, answers in _improved(decoder, held, asked, asking).items():
            pairs.setdefault(name, []).append((answers, wanted))
        for name, (given, into) in held.rows.items():
            if asking.rows and name not in asking.rows:
                continue
            decoded = decoded_answers(decoder, given, into, asked.inputs)
            pairs.setdefault(name, []).append((decoded, wanted))
            if asking.distil and "bits" not in name:
                picked = ((wanted == asked.labels).float().mean(1) >= FINISHED).nonzero().flatten()[: asking.distil]
                told.setdefault(name, []).append(_beside(held, into, (decoded, picked), asked, asking.steps))
    rows = {n: compare_answers(*map(torch.cat, zip(*p, strict=True)), asked.labels) for n, p in pairs.items()}
    found = with_shares(rows)
    for name, beside in told.items():
        found[name] |= {key: float(np.mean([x[key] for x in beside if x])) for key in ("distilled", "of_distilled")}
    return found


def _improved(decoder: Decoder, held: Held, asked: Asked, asking: Asking) -> dict[str, Tensor]:
    """What networks answer whose latents were refined, and whose weights were polished."""
    (vectors, own), stack = held.rows["own"], held.stack
    if not (asking.refine or asking.polish):
        return {}
    pool = draw_inputs(asked.data, [], 8192, Generator().manual_seed(0)).to(asked.device)
    with torch.no_grad():
        logits, weights = run_in_pieces(stack.module, stack.weights, pool), decoder.network(vectors, own.target)
    found = {}
    if asking.refine:
        moved = refine_latents(decoder, vectors, own, pool, logits, steps=asking.refine)
        found[f"own, refined {asking.refine}"] = decoded_answers(decoder, moved, own, asked.inputs)
    if asking.polish:
        better = polish(own.module, weights, pool, logits, steps=asking.polish)
        found[f"own, polished {asking.polish}"] = classes(run_in_pieces(own.module, better, asked.inputs))
    return found


def _beside(held: Held, into: Into, given: tuple[Tensor, Tensor], asked: Asked, steps: int) -> dict[str, float]:
    """What distilling some networks straight into an architecture reaches, and what decoding reaches of it."""
    (decoded, picked), wanted = given, held.wanted
    if not len(picked):
        return {}
    weights = {name: t[picked.to(t.device)] for name, t in held.stack.weights.items()}
    pool = draw_inputs(asked.data, [], 8192, Generator().manual_seed(0)).to(asked.device)
    with torch.no_grad():
        logits = run_in_pieces(held.stack.module, weights, pool)
    student = distil(into.module, logits, pool, steps=steps)
    with torch.no_grad():
        found = classes(run_in_pieces(into.module, student, asked.inputs))
    reached = float((found == wanted[picked]).float().mean())
    return {"distilled": reached, "of_distilled": float((decoded[picked] == wanted[picked]).float().mean()) / reached}


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
