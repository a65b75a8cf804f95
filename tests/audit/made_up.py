"""Answers, networks and a small generator with everything that its audit needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator as Random

from weightspace.audit.answers import Answers, own_runs
from weightspace.audit.reference import Reference, build_reference
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.generate.generator import Generator
from weightspace.latents.table import LatentTable
from weightspace.zoo.data import load_dataset
from weightspace.zoo.store import Population, find_population

LATENT = 8


def make_answers(models: int, *, accuracy: float, seed: int, inputs: int = 400, name: str = "net") -> Answers:
    """Independent networks of about one accuracy, which err at random."""
    draw = Random().manual_seed(seed)
    labels = torch.randint(10, (inputs,), generator=Random().manual_seed(99))
    wrong = torch.rand(models, inputs, generator=draw) > accuracy
    off = torch.randint(1, 10, (models, inputs), generator=draw)
    chosen = (labels + off * wrong) % 10
    return Answers(chosen.to(torch.uint8), labels.to(torch.uint8), own_runs(f"{name} {seed}", models))


@dataclass(frozen=True, eq=False)
class Small:
    """A generator of digit perceptrons; its decoder has learned nothing."""

    generator: Generator
    decoder: Decoder
    reference: Reference
    population: Population


@lru_cache(maxsize=1)
def small() -> Small:
    """Latents are drawn at random: what an audit must say is known without a trained encoder."""
    population = find_population("mlp_digits")
    frame = population.frame()
    frame = frame[frame["architecture"].astype(str).isin(sorted(set(frame["architecture"].astype(str)))[:2])]
    vectors = np.random.default_rng(0).standard_normal((len(frame), LATENT)).astype(np.float32)
    rows = [{"id": i, "path": i, "vector": v} for i, v in zip(frame["id"], vectors, strict=True)]
    table = LatentTable.from_rows(rows, encoder="drawn", graph_version=1, latent=LATENT)
    names = ("split", "test_accuracy", "activation", "width", "architecture")
    table = table.assign({name: frame[name].tolist() for name in names} | {"run": frame["run"].astype(str).tolist()})
    programs = {str(a): str(population.program(str(a))) for a in set(frame["architecture"])}
    generator = Generator.fit(table, programs=programs, prior="gaussian", properties=["test_accuracy"], name="small")
    network = DecoderNetwork(DecoderConfig(latent=LATENT), generator=Random().manual_seed(0))
    decoder = Decoder("drawn", network, "drawn", ((1, 8, 8),), 10)
    reference = build_reference(generator, decoder, table, population, load_dataset("digits"), count=8)
    return Small(generator, decoder, reference, population)


def save_small(folder: Path) -> Small:
    """Write the folders `generator` and `decoder`."""
    made = small()
    made.generator.save(folder / "generator")
    made.reference.save(folder / "generator")
    made.decoder.save(folder / "decoder")
    return made
