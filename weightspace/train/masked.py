"""What an encoder says of a block that it cannot see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from weightspace.encode.network import Encoding, SweepConfig, learned_numbers
from weightspace.encode.plan import Plan
from weightspace.nn.seeded import draw
from weightspace.nn.statistics import RELATIVE, tensor_statistics
from weightspace.nn.tiles import as_matrix


class Asked(NamedTuple):
    """What is asked of a block.

    Args:
        stage: Its stage's number, `(1,)`.
        known: Its statistics, `(models, RELATIVE)`.
        there: In which networks it is not zero, `(models,)`.
    """

    stage: Tensor
    known: Tensor
    there: Tensor


@torch.no_grad()
def ask_block(plan: Plan, number: int, weights: Mapping[str, Tensor]) -> Asked:
    """Return what is asked of a block, of its number among the plan's edges and networks' weights with it."""
    edge = plan.edges[number]
    (stage,) = (i for i, one in enumerate(plan.stages) if any(edge is other for other in one.edges))
    matrix = as_matrix(weights[edge.tensor], edge.order, edge.sizes)
    known, rms = tensor_statistics(matrix, matrix.dtype, edge.split)
    return Asked(torch.tensor([stage], device=rms.device), known[:, :RELATIVE], rms > 0)


def blanked(weights: Mapping[str, Tensor], tensor: str) -> dict[str, Tensor]:
    """Return weights with zeros in the place of one tensor."""
    return {**weights, tensor: torch.zeros_like(weights[tensor])}


class MaskedHead(nn.Module):
    """Statistics of a blanked block from what its stage and the whole network say, by one matrix.

    Args:
        sizes: Of the encoder.
        generator: Draws the matrix.
    """

    def __init__(self, sizes: SweepConfig, *, generator: Generator) -> None:
        super().__init__()
        self.fixed, self.end = sizes.fixed, sizes.latent - sizes.answers
        self.matrix = draw(sizes.stage + self.end - self.fixed, RELATIVE, generator=generator)

    def forward(self, encoding: Encoding, asked: Asked) -> Tensor:
        """Return the mean loss over the networks in which the block is not zero.

        Args:
            encoding: Of the networks without the block.
            asked: What is asked of it.
        """
        stage = encoding.stages.index_select(1, asked.stage)[:, 0]
        seen = torch.cat([stage, learned_numbers(encoding.vector[:, : self.end], self.fixed)], 1)
        apart = F.smooth_l1_loss(seen @ self.matrix, asked.known, reduction="none").mean(1)
        return (apart * asked.there).sum() / asked.there.sum().clamp_min(1)
