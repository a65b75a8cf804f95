"""A population, its latents, and a decoder: everything that generated networks are held against."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from benchmarks.encoder.read import View, read_rows
from weightspace.audit.answers import own_runs
from weightspace.audit.networks import Group, answer_groups, decode_groups, read_groups, take_groups
from weightspace.audit.pools import Pool, make_pools
from weightspace.audit.table import Entry, Known
from weightspace.audit.weight_novelty import Making, make_yardsticks
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.generate.generator import Generator
from weightspace.generate.sample import Sample
from weightspace.graph.axes import GRAPH_VERSION
from weightspace.latents.table import LatentTable
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.store import Population, find_population

BEST = 0.8
"""Quantile of the training networks' accuracies above which the best fifth lies."""


@dataclass(frozen=True, eq=False)
class Zoo:
    """One population with its parts.

    Args:
        population: It.
        table: Latents of all networks that did not diverge, with the manifest's columns.
        programs: Of its architectures.
        data: Of its networks.
        inputs: Test inputs, on the device.
        labels: Of these.
        groups: Training networks by architecture.
        again: What the decoder makes of their latents.
        fresh: Held-out networks.
        known: What everything is held against.
    """

    population: Population
    table: LatentTable
    programs: dict[str, str]
    data: Dataset
    inputs: Tensor
    labels: Tensor
    groups: list[Group]
    again: list[Group]
    fresh: list[Group]
    known: Known

    @property
    def name(self) -> str:
        """Of the population."""
        return self.population.folder.name

    @property
    def train(self) -> np.ndarray:
        """Rows of the table that are learned from."""
        return np.flatnonzero(self.table["split"].astype(str) == "train")

    def fit(self, prior: str, properties: list[str], seed: int) -> Generator:
        """Return a generator of these latents."""
        return Generator.fit(self.table, programs=self.programs, prior=prior, properties=properties, seed=seed)

    def asked(self, meeting: np.ndarray) -> Known:
        """Return what everything is held against when the best fifth is asked for."""
        low = self.known.train.accuracy[meeting].min()
        return replace(self.known, meeting=(meeting, self.known.fresh.accuracy >= low))

    def entry(self, kind: str, sample: Sample, decoder: Decoder) -> Entry:
        """Return the decoded networks of a sample as a set of the table."""
        runs, groups = own_runs(kind, len(sample)), decode_groups(sample, decoder)
        return Entry(kind, answer_groups(groups, self.inputs, self.labels, runs), groups, runs)

    def pools(self, meeting: np.ndarray) -> list[tuple[Group, Pool]]:
        """Return training networks that meet a condition, to make baselines from."""
        return make_pools(self.groups, self.known.train.runs, meeting)

    def references(self, meeting: np.ndarray) -> dict[str, Entry]:
        """Return training networks that meet a condition, reconstructions, and held-out networks."""
        known, every = self.known, np.ones(len(self.known.fresh), bool)
        good = known.fresh.accuracy >= np.quantile(known.train.accuracy, BEST)
        found = {
            "training networks": (known.train, self.groups, meeting, False),
            "decoded training networks": (known.rebuilt, self.again, meeting, False),
            "held-out networks": (known.fresh, self.fresh, every, True),
            "held-out networks of the best fifth": (known.fresh, self.fresh, good, True),
        }
        return {
            name: Entry("reference", part.take(kept), take_groups(groups, kept), part.runs[kept], seen)
            for name, (part, groups, kept, seen) in found.items()
            if kept.any()
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark of generation takes."""
    parser.add_argument("populations", nargs="+", help="folders, or names of populations that ship")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--decoder", required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=256, help="networks in each set")
    parser.add_argument("--inputs", type=int, default=10000, help="test inputs, at most")
    parser.add_argument("--guidance", type=float, default=1.5, help="of the flow")
    parser.add_argument("--temperature", type=float, default=1.0, help="of the noise that the flow begins with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")


def steer(generator: Generator, args: argparse.Namespace) -> dict[str, float]:
    """Return how a generator is told to draw: as the arguments say where its prior can be told."""
    return {"guidance": args.guidance, "temperature": args.temperature} if generator.prior.guided else {}


def read_decoder(args: argparse.Namespace) -> Decoder:
    """Return the decoder on its device."""
    decoder = Decoder.from_pretrained(args.decoder)
    return replace(decoder, network=decoder.network.to(args.device))


def read_zoo(name: str, decoder: Decoder, args: argparse.Namespace) -> Zoo:
    """Return a population with its latents and what its networks answer."""
    population = find_population(name)
    table = embed(population, args.encoder, args.device)
    programs = {a: p for a in population.architectures if (p := population.program(a)) is not None}
    data = load_dataset(str(table["dataset"][0]), args.data_dir)
    inputs, labels = data.x_test[: args.inputs].to(args.device), data.y_test[: args.inputs].to(args.device)
    split = table["split"].astype(str)
    train, fresh = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    runs = table["run"].astype(str).astype(object)
    groups, kept_back = (read_groups(population, list(table["id"][rows])) for rows in (train, fresh))
    again, beside = (decode_groups(_as_sample(table, rows, programs), decoder) for rows in (train, fresh))
    held_out, decoded = (answer_groups(g, inputs, labels, runs[fresh]) for g in (kept_back, beside))
    known = Known(
        answer_groups(groups, inputs, labels, runs[train]),
        answer_groups(again, inputs, labels, runs[train]),
        held_out,
        make_yardsticks(
            [
                Making(groups, runs[train], kept_back, held_out.accuracy),
                Making(again, runs[train], beside, decoded.accuracy),
            ]
        ),
    )
    return Zoo(population, table, programs, data, inputs, labels, groups, again, kept_back, known)


def _as_sample(table: LatentTable, rows: np.ndarray, programs: dict[str, str]) -> Sample:
    texts = tuple(programs[str(a)] for a in table["architecture"][rows])
    return Sample(table.vectors[rows], {}, texts, table.encoder, "reconstruction")


def embed(population: Population, encoder: str, device: str) -> LatentTable:
    """Return latents of all networks that did not diverge, with the columns of the manifest."""
    known = Encoder.from_pretrained(encoder)
    rows, vectors = read_rows(known, population, population.frame(), View(run=True, device=device))
    plain = [{"id": i, "path": i, "vector": v, "weights": 0} for i, v in zip(rows["id"], vectors.numpy(), strict=True)]
    latent = known.network.config.latent
    table = LatentTable.from_rows(plain, encoder=known.id, graph_version=GRAPH_VERSION, latent=latent)
    kept = [c for c in rows.columns if c not in table.columns and not rows[c].isna().any()]
    return table.assign({c: rows[c].tolist() for c in kept})


def best_fifth(zoo: Zoo) -> np.ndarray:
    """Return which training networks belong to the best fifth, by what they answer here."""
    accuracy = zoo.known.train.accuracy
    return accuracy >= np.quantile(accuracy, BEST)
