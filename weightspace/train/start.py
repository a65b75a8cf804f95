"""Where learned inputs and the reading of answers begin: at real inputs, and at principal components."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from weightspace.encode.answers import run_networks
from weightspace.nn.probes import codes
from weightspace.train.data import Corpus, Group
from weightspace.train.objective import EncoderObjective, stacked
from weightspace.zoo.seeds import mix_seed

NETWORKS, TOGETHER = 1024, 128
"""Networks of each population whose answers are looked at, and how many of them at once."""


@torch.no_grad()
def start_answers(objective: EncoderObjective, corpus: Corpus) -> None:
    """Set the probes to real inputs, then the matrices on the answers to principal components over all populations.

    Args:
        objective: A fresh one; nothing happens if its encoder has no probes.
        corpus: What is trained on, with real inputs.
    """
    encoder = objective.encoder
    if not objective.config.sizes.probes:
        return
    generator = Generator().manual_seed(mix_seed(objective.config.seed, "start"))
    encoder.probes.start(list(corpus.inputs.values()), generator)
    groups: dict[str, list[Group]] = {}
    for group in corpus.groups["train"]:
        groups.setdefault(group.population, []).append(group)
    for answers, rank in ((encoder.images, 3), (encoder.rows, 1)):
        told = [part for each in groups.values() for part in _codes_of(objective, each, rank, generator)]
        if told:
            answers.start(torch.cat(told), generator)


def _codes_of(objective: EncoderObjective, groups: list[Group], rank: int, generator: Generator) -> list[Tensor]:
    """Codes of some networks of one population whose inputs are of a rank, each group in proportion."""
    fitting = [(group, group.shape) for group in groups if group.shape is not None and len(group.shape) == rank]
    share = NETWORKS / max(NETWORKS, sum(len(group) for group, _ in fitting))
    found = []
    for group, shape in fitting:
        probes = objective.encoder.probes(shape)
        for places in torch.randperm(len(group), generator=generator)[: round(share * len(group)) or 1].split(TOGETHER):
            weights = stacked([(group, places.to(probes.device))])
            found.append(codes(run_networks(group.module, weights, probes).nan_to_num(posinf=0.0, neginf=0.0)))
    return found
