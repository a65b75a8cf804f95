"""Does a latent stay where it is when units are relabelled or rescaled, and move when one side of a tie is shuffled?

    python -m benchmarks.invariance DIR --populations POPULATION... --json

Every checkpoint below DIR that is wholly understood, synthetic networks of widths 16 to 1,024, and some networks of
each population. Moves are divided by the distance to the nearest different checkpoint (another file content and another
place in latent space: a copy in another format is the same network); those of a relabelling also by the length of the
latent, in the encoder's precision and in bfloat16. Every tie is broken once: one dimension of one tensor is shuffled
and all others are left alone; shuffles that leave the tensor as it was are counted, not scored. Rescaling multiplies
what all units before a known ReLU say by factors of a half to two and divides their readers: networks of populations
carry their program; of real files those are rescaled that `tests/real` rebuilds from their manifest's ids. What is left
of such a move where both networks are balanced first (`ws.balance`) stands beside it. Weights in half precision are
widened for that: a rescaled copy that is rounded again is another network.

Bars: relabelling at most 1e-4 of the length, in bfloat16 1e-2; a broken tie at least 0.1 of the distance, rescaling at
most 1e-3 of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from benchmarks.synthetic import WIDTHS, synthetic
from tests.real.module import RebuiltModule
from tests.real.table import network_of, weights_of
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.find import find_checkpoints
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode import DEFAULT
from weightspace.encode.encoder import Encoder
from weightspace.errors import WeightspaceError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.balance import balance
from weightspace.graph.symmetry.orders import parent_sizes, random_permutations
from weightspace.graph.symmetry.relabel import places, relabel, relabel_only
from weightspace.graph.symmetry.rescale import rescale, scalable
from weightspace.graph.trace import trace_graph
from weightspace.zoo.embed import embed_population
from weightspace.zoo.store import Population, find_population

LEGAL, ROUNDED, BROKEN, SCALED = 1e-4, 1e-2, 0.1, 1e-3
SAME = 1e-6
"""Share of a vector's length within which another one is the same network: vectors are in single precision."""
BATCH = 1 << 23
AROUND = 512
"""Networks of a population among which the nearest is looked for."""


@dataclass(frozen=True)
class Moves:
    """How far one network moves, in units of the distance to the nearest different one.

    Args:
        name: Of the network.
        nearest: That distance.
        legal: By relabelling.
        relative: By relabelling, in units of the length of the latent: in the encoder's precision, and in bfloat16.
        scaled: By rescaling, and what is left of that where both are balanced first; None where nothing allows it.
        broken: By shuffling one side of a tie.
        unchanged: Shuffles that changed nothing.
    """

    name: str
    nearest: float
    legal: float
    relative: tuple[float, float]
    scaled: tuple[float, float] | None
    broken: dict[str, float]
    unchanged: int


def main() -> int:
    """Print the moves; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--populations", nargs="*", type=Path, default=[], help="folders of populations")
    parser.add_argument("--networks", type=int, default=24, help="networks of each population")
    parser.add_argument("--encoder", default=DEFAULT, help="a name or a folder")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ties", type=int, default=None, help="at most so many ties a checkpoint, drawn at random")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    encoder = Encoder.from_pretrained(options.encoder)
    precision = str(encoder.network.scale.dtype).removeprefix("torch.")
    parts = {"real": _real(encoder, options), "synthetic": _made(encoder)}
    parts |= {folder.name: _drawn(encoder, find_population(folder), options) for folder in options.populations}
    met = {name: _met(part) for name, part in parts.items()}
    report = {"encoder": encoder.id, "precision": precision, **parts, "met": met}
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if all(all(each.values()) for each in met.values()) else 1


def _met(part: dict[str, Any]) -> dict[str, bool]:
    """Which bars are reached."""
    met = {"relabelled": part["relative_max"] <= LEGAL, "bfloat16": part["bfloat16_max"] <= ROUNDED}
    met["broken"] = part["broken_min"] >= BROKEN
    return met | ({"rescaled": part["rescaled_max"] <= SCALED} if part["rescaled"] else {})


def _real(encoder: Encoder, options: argparse.Namespace) -> dict[str, object]:
    paths = find_checkpoints([options.folder])
    table = encoder.encode_many(paths)
    vectors, hashes = table.vectors.astype(np.float64), table["sha256"]
    names = _manifest(options.folder)
    tasks = []
    for i in np.flatnonzero(table["understood"] == 1):
        away = np.linalg.norm(vectors - vectors[i], axis=1)
        nearest = float(away[(hashes != hashes[i]) & _elsewhere(away, vectors[i])].min())
        tasks.append((options.encoder, names.get(paths[i], table["id"][i]), paths[i], (nearest, options.ties)))
    tasks.sort(key=lambda task: -Path(task[2]).stat().st_size)
    with get_context("spawn").Pool(options.jobs) as pool:
        moves = pool.starmap(_moves_of, tasks, chunksize=1)
    return _summary(moves) | {"checkpoints": len(paths), "understood": len(tasks), "failed": int((~table.fine).sum())}


def _elsewhere(away: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Which distances to a vector are more than rounding of its numbers."""
    return away > SAME * np.linalg.norm(vector)


def _manifest(folder: Path) -> dict[str, str]:
    """Ids of checkpoints by path, where a manifest tells them."""
    path = folder / "manifest.json"
    entries = json.loads(path.read_text())["checkpoints"] if path.exists() else []
    return {str(folder / entry["file"]): entry["id"] for entry in entries}


def _moves_of(encoder: str, name: str, path: str, against: tuple[float, int | None]) -> Moves:
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(path)
    return _moves(Encoder.from_pretrained(encoder), name, checkpoint, (*against, _traced(name, checkpoint)))


def _traced(name: str, checkpoint: Checkpoint) -> ParameterGraph | None:
    """The graph of a real network that was rebuilt by hand; a file alone doesn't show the activations."""
    network = network_of(name)
    if network is None:
        return None
    weights = weights_of(checkpoint)
    inputs = network.inputs(weights, Generator().manual_seed(0))
    try:
        return trace_graph(RebuiltModule(network, weights), inputs)
    except WeightspaceError as error:
        print(f"{name}: not traced ({error})", file=sys.stderr)
        return None


def _drawn(encoder: Encoder, population: Population, options: argparse.Namespace) -> dict[str, object]:
    """Networks of a population, drawn at random."""
    frame = population.frame()
    rows = frame[~frame["diverged"]].sample(frac=1, random_state=0)[:AROUND].reset_index(drop=True)
    vectors = embed_population(encoder, population, rows).table.vectors.astype(np.float64)
    moves = []
    for i, identity in enumerate(rows["id"][: options.networks]):
        away = np.linalg.norm(vectors - vectors[i], axis=1)
        checkpoint = population.checkpoint(str(identity))
        graph = encoder.architectures.of(checkpoint).graph
        nearest = float(away[_elsewhere(away, vectors[i])].min())
        moves.append(_moves(encoder, str(identity), checkpoint, (nearest, options.ties, graph)))
    return _summary(moves) | {"networks": len(moves)}


def _made(encoder: Encoder) -> dict[str, object]:
    """Networks of random weights; the nearest different one is one of other weights in the same architecture."""
    moves = []
    for kind in ("mlp", "cnn"):
        for width in WIDTHS:
            networks = [synthetic(kind, width, seed) for seed in range(3)]
            vectors = [encoder.encode(network).vector.double() for network in networks]
            nearest = min(float((v - vectors[0]).norm()) for v in vectors[1:])
            moves.append(_moves(encoder, f"{kind} {width}", networks[0], (nearest, None, None)))
    return _summary(moves) | {
        "networks": {m.name: {"legal": m.legal, "broken_min": min(m.broken.values())} for m in moves}
    }


Against = tuple[float, int | None, ParameterGraph | None]
"""Distance to the nearest other, most ties to break, and a traced graph where there is one."""


def _moves(encoder: Encoder, name: str, checkpoint: Checkpoint, against: Against) -> Moves:
    nearest, ties, traced = against
    graph = encoder.architectures.of(checkpoint).graph
    generator = Generator().manual_seed(0)
    permutations = random_permutations(graph, generator=generator)
    twin = relabel(checkpoint, graph, permutations)
    start, legal = (encoder.encode(c).vector.double() for c in (checkpoint, twin))
    encoder.to("cpu", torch.bfloat16)
    rounded, turned = (encoder.encode(c).vector.double() for c in (checkpoint, twin))
    encoder.to("cpu")
    relative = float((legal - start).norm() / start.norm()), float((turned - rounded).norm() / rounded.norm())
    apart = None if traced is None else _rescale(encoder, checkpoint, traced, generator)
    apart = None if apart is None else (apart[0] / nearest, apart[1] / nearest)
    sites = [(axis, place) for axis in permutations for place in places(graph, axis) if len(places(graph, axis)) > 1]
    if ties is not None and len(sites) > ties:
        sites = [sites[i] for i in torch.randperm(len(sites), generator=generator)[:ties]]
    broken, unchanged = _break(encoder, checkpoint, permutations, sites)
    broken = {tie: float((vector - start).norm()) / nearest for tie, vector in broken.items()}
    return Moves(name, nearest, float((legal - start).norm()) / nearest, relative, apart, broken, unchanged)


def _rescale(
    encoder: Encoder, checkpoint: Checkpoint, graph: ParameterGraph, generator: Generator
) -> tuple[float, float] | None:
    """How far other factors on all units that allow them move a latent, as it is and of balanced weights."""
    wide = {n: t.float() if t.is_floating_point() and t.itemsize < 4 else t for n, t in checkpoint.tensors.items()}
    checkpoint = replace(checkpoint, tensors=wide)
    axes = [name for name, kind in scalable(graph).items() if kind in ("positive", "any")]
    if not axes:
        return None
    factors = {}
    for name in axes:
        shape = (*parent_sizes(graph, name), graph.axes[name].size)
        factors[name] = 2.0 ** (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
    pair = checkpoint, rescale(checkpoint, graph, factors)
    plain, even = (
        [encoder.encode(c).vector.double() for c in each] for each in (pair, [balance(c, graph) for c in pair])
    )
    return float((plain[0] - plain[1]).norm()), float((even[0] - even[1]).norm())


def _break(
    encoder: Encoder, checkpoint: Checkpoint, permutations: dict[str, Tensor], sites: list[tuple[str, Any]]
) -> tuple[dict[str, Tensor], int]:
    """Latents with one side of a tie shuffled, by tie; and how many shuffles changed nothing."""
    graph = encoder.architectures.of(checkpoint).graph
    broken: dict[str, Tensor] = {}
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
            broken |= dict(zip(batch, found, strict=True))
    return broken, unchanged


def _summary(moves: list[Moves]) -> dict[str, object]:
    scores = sorted((score, f"{m.name}: {tie}") for m in moves for tie, score in m.broken.items())
    values = np.array([score for score, _ in scores])
    legal, scaled = [m.legal for m in moves], [m.scaled for m in moves if m.scaled is not None]
    relative, rounded = zip(*(m.relative for m in moves), strict=True)
    return {
        "relative_max": max(relative),
        "bfloat16_max": max(rounded),
        "bfloat16_median": float(np.median(rounded)),
        "legal_max": max(legal),
        "legal_median": float(np.median(legal)),
        "rescaled": len(scaled),
        "rescaled_max": max((plain for plain, _ in scaled), default=None),
        "rescaled_median": float(np.median([plain for plain, _ in scaled])) if scaled else None,
        "balanced_max": max((even for _, even in scaled), default=None),
        "balanced_median": float(np.median([even for _, even in scaled])) if scaled else None,
        "ties": len(values),
        "ties_below_bar": int((values < BROKEN).sum()),
        "ties_unchanged_by_shuffling": sum(m.unchanged for m in moves),
        "broken_min": float(values.min()),
        "broken_median": float(np.median(values)),
        "weakest": [{"tie": tie, "move": score} for score, tie in scores[:8]],
    }


if __name__ == "__main__":
    sys.exit(main())
