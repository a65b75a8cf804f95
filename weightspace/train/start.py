"""Where learned inputs and the reading of answers begin: at real inputs, and at principal components."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from weightspace.encode.answers import run_networks
from weightspace.encode.network import SweepNetwork
from weightspace.nn.answers import AnswerMap, codes
from weightspace.train.data import single

NETWORKS, TOGETHER = 1024, 128
"""Networks of each population whose answers are looked at, and how many of them at once."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Networks of one architecture whose answers are looked at.

    Args:
        module: Runs them.
        shape: Of one input.
        weights: `(models, *shape)` by tensor.
    """

    module: nn.Module
    shape: tuple[int, ...]
    weights: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.weights.values())))


@torch.no_grad()
def start_answers(
    network: SweepNetwork, inputs: Sequence[Tensor], populations: Iterable[Sequence[Asked]], generator: Generator
) -> None:
    """Set the probes to real inputs, then the matrices on the answers to principal components over all populations.

    Args:
        network: A fresh one; nothing happens if it has no probes.
        inputs: Real ones of each dataset, `(inputs, *shape)`.
        populations: Networks of each, all learned from.
        generator: Picks inputs and networks.
    """
    if not network.config.probes:
        return
    network.probes.start(inputs, generator)
    asked = list(populations)
    for answers in (network.images, network.rows):
        told = [part for each in asked for part in _codes_of(network, each, answers, generator)]
        if told:
            answers.start(torch.cat(told), generator)


def _codes_of(network: SweepNetwork, asked: Sequence[Asked], answers: AnswerMap, generator: Generator) -> list[Tensor]:
    """Codes of some networks of one population whose answers are read alike, each architecture in proportion."""
    pairs = [(each, network.probes(each.shape)) for each in asked]
    fitting = [(each, probes) for each, probes in pairs if network.reader(len(probes)) is answers]
    share = NETWORKS / max(NETWORKS, sum(len(each) for each, _ in fitting))
    found = []
    for each, probes in fitting:
        for places in torch.randperm(len(each), generator=generator)[: round(share * len(each)) or 1].split(TOGETHER):
            here = places.to(probes.device)
            weights = {name: single(tensor[here]) for name, tensor in each.weights.items()}
            found.append(codes(run_networks(each.module, weights, probes).nan_to_num(posinf=0.0, neginf=0.0)))
    return found
