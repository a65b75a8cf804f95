"""Does what is put down to units hold? Take the highest ones away, beside as many at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.graph.layout import Side
from weightspace.graph.symmetry.gates import Gates
from weightspace.inspect.attribute import Attribution, remove_units
from weightspace.inspect.question import Asker, Question

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
RANDOM, SEED = 32, 0
"""Random sets of units of each size, and their seed."""


@dataclass(frozen=True)
class Deletion:
    """What taking units away does to what is told.

    Args:
        share: Of all units that are taken away.
        units: How many that is.
        top: Change if they are those that carry most.
        random: Mean change, whatever its sign, over random sets of as many.
        spread: Standard deviation over these.
    """

    share: float
    units: int
    top: float
    random: float
    spread: float

    @property
    def ratio(self) -> float | None:
        """Size of the change over that of random sets; None where random sets change nothing."""
        return abs(self.top) / self.random if self.random else None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        return asdict(self) | {"ratio": self.ratio}


def deletion_curve(
    encoder: Encoder,
    checkpoint: Checkpoint,
    question: Question,
    attribution: Attribution,
    shares: Sequence[float] = SHARES,
) -> tuple[Deletion, ...]:
    """Return what taking away the units that carry most changes, beside random ones, for each share of units.

    Args:
        encoder: Gives the latents.
        checkpoint: The network, alone.
        question: What is told.
        attribution: Of the network alone, with this encoder.
        shares: Of the units, above 0 and up to 1; one unit at least is taken.

    Source:
        Samek et al. (2017), "Evaluating the visualization of what a deep neural network has learned" (there of pixels).
    """
    asker = Asker(encoder, checkpoint, question)
    gates = Gates.of(asker.graph, Side.READ)
    places = {unit: i for i, unit in enumerate(gates.units)}
    order = torch.tensor([places[unit.axis, unit.unit] for unit in attribution.ranked])
    generator, found = Generator().manual_seed(SEED), []
    for share in shares:
        count = max(1, round(share * len(order)))
        sets = [
            order[:0],
            order[:count],
            *(torch.randperm(len(order), generator=generator)[:count] for _ in range(RANDOM)),
        ]
        told = remove_units(asker, gates, torch.stack([_marked(chosen, len(order)) for chosen in sets]))
        changes = (told[0] - told[1:]).double()
        sizes = changes[1:].abs()
        found.append(Deletion(share, count, -float(changes[0]), float(sizes.mean()), float(sizes.std())))
    return tuple(found)


def _marked(chosen: Tensor, units: int) -> Tensor:
    return torch.zeros(units).index_fill(0, chosen, 1.0)
