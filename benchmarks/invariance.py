"""Does a latent stay where it is when units are relabelled, and move when one side of a tie is shuffled?

`python -m benchmarks.invariance DIR --json`: every checkpoint below DIR that is wholly understood, and synthetic
networks of widths 16 to 1,024. Distances are divided by the distance to the nearest different checkpoint (another file
content and another place in latent space: a copy in another format is the same network). Every tie of every checkpoint
is broken once: one dimension of one tensor is shuffled and all others are left alone; shuffles that leave the tensor as
it was are counted, not scored.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator

from benchmarks.synthetic import WIDTHS, synthetic
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.find import find_checkpoints
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import places, relabel, relabel_only

LEGAL, BROKEN = 1e-3, 0.1
BATCH = 1 << 23


@dataclass(frozen=True)
class Moves:
    """How far one network moves, in units of the distance to the nearest different one."""

    name: str
    nearest: float
    legal: float
    broken: dict[str, float]
    unchanged: int


def main() -> int:
    """Print the moves; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="random-sweep", help="a name or a folder")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ties", type=int, default=None, help="at most so many ties a checkpoint, drawn at random")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    encoder = Encoder.from_pretrained(options.encoder)
    report: dict[str, Any] = {"encoder": encoder.id, "real": _real(encoder, options)}
    report["synthetic"] = _made(encoder)
    print(json.dumps(report, indent=None if options.json else 2))
    met = all(
        part["legal_max"] <= LEGAL and part["broken_min"] >= BROKEN for part in (report["real"], report["synthetic"])
    )
    return 0 if met else 1


def _real(encoder: Encoder, options: argparse.Namespace) -> dict[str, object]:
    paths = find_checkpoints([options.folder])
    table = encoder.encode_many(paths)
    vectors, hashes = table.vectors.astype(np.float64), table["sha256"]
    tasks = []
    for i in np.flatnonzero(table["understood"] == 1):
        away = np.linalg.norm(vectors - vectors[i], axis=1)
        nearest = float(away[(hashes != hashes[i]) & (away > 1e-6)].min())
        tasks.append((options.encoder, table["id"][i], paths[i], (nearest, options.ties)))
    tasks.sort(key=lambda task: -Path(task[2]).stat().st_size)
    with get_context("spawn").Pool(options.jobs) as pool:
        moves = pool.starmap(_moves_of, tasks, chunksize=1)
    return _summary(moves) | {"checkpoints": len(paths), "understood": len(tasks), "failed": int((~table.fine).sum())}


def _moves_of(encoder: str, name: str, path: str, against: tuple[float, int | None]) -> Moves:
    torch.set_num_threads(1)
    return _moves(Encoder.from_pretrained(encoder), name, load_checkpoint(path), against)


def _made(encoder: Encoder) -> dict[str, object]:
    """Networks of random weights; the nearest different one is one of other weights in the same architecture."""
    moves = []
    for kind in ("mlp", "cnn"):
        for width in WIDTHS:
            networks = [synthetic(kind, width, seed) for seed in range(3)]
            vectors = [encoder.encode(network).vector.double() for network in networks]
            nearest = min(float((v - vectors[0]).norm()) for v in vectors[1:])
            moves.append(_moves(encoder, f"{kind} {width}", networks[0], (nearest, None)))
    return _summary(moves) | {
        "networks": {m.name: {"legal": m.legal, "broken_min": min(m.broken.values())} for m in moves}
    }


def _moves(encoder: Encoder, name: str, checkpoint: Checkpoint, against: tuple[float, int | None]) -> Moves:
    nearest, ties = against
    graph = encoder.architectures.of(checkpoint).graph
    generator = Generator().manual_seed(0)
    permutations = random_permutations(graph, generator=generator)
    start = encoder.encode(checkpoint).vector.double()
    legal = encoder.encode(relabel(checkpoint, graph, permutations)).vector.double()
    sites = [(axis, place) for axis in permutations for place in places(graph, axis) if len(places(graph, axis)) > 1]
    if ties is not None and len(sites) > ties:
        sites = [sites[i] for i in torch.randperm(len(sites), generator=generator)[:ties]]
    broken: dict[str, float] = {}
    unchanged, size = 0, max(1, BATCH // max(1, checkpoint.header.weights))
    for at in range(0, len(sites), size):
        batch = {}
        for axis, place in sites[at : at + size]:
            shuffled = relabel_only(checkpoint, graph, {axis: permutations[axis]}, [place])
            if torch.equal(shuffled.tensors[place[0]], checkpoint.tensors[place[0]]):
                unchanged += 1
            else:
                batch[f"{place[0]}[{place[1]}] {axis}"] = shuffled
        if batch:
            found = encoder.encode_stack(*batch.values())[0].vector.float().double()
            broken |= dict(zip(batch, ((found - start).norm(dim=1) / nearest).tolist(), strict=True))
    return Moves(name, nearest, float((legal - start).norm()) / nearest, broken, unchanged)


def _summary(moves: list[Moves]) -> dict[str, object]:
    scores = sorted((score, f"{m.name}: {tie}") for m in moves for tie, score in m.broken.items())
    values = np.array([score for score, _ in scores])
    legal = [m.legal for m in moves]
    return {
        "legal_max": max(legal),
        "legal_median": float(np.median(legal)),
        "ties": len(values),
        "ties_below_bar": int((values < BROKEN).sum()),
        "ties_unchanged_by_shuffling": sum(m.unchanged for m in moves),
        "broken_min": float(values.min()),
        "broken_median": float(np.median(values)),
        "weakest": [{"tie": tie, "move": score} for score, tie in scores[:8]],
    }


if __name__ == "__main__":
    sys.exit(main())
