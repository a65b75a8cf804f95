"""What an encoder says of a block that it cannot see."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from weightspace.encode.network import Encoding, SweepConfig, learned_numbers
from weightspace.encode.plan import Plan
from weightspace.nn.seeded import draw
from weightspace.nn.statistics import RELATIVE, tensor_statistics
from weightspace.nn.tiles import as_matrix


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

    def forward(self, encoding: Encoding, plan: Plan, number: int, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss over the networks in which the block is not zero.

        Args:
            encoding: Of the networks without the block.
            plan: Theirs.
            number: Of the block among the plan's edges.
            weights: Of the networks with it.
        """
        edge = plan.edges[number]
        (stage,) = (i for i, one in enumerate(plan.stages) if any(edge is other for other in one.edges))
        with torch.no_grad():
            matrix = as_matrix(weights[edge.tensor], edge.order, edge.sizes)
            known, rms = tensor_statistics(matrix, self.matrix.dtype, edge.split)
        seen = torch.cat([encoding.stages[:, stage], learned_numbers(encoding.vector[:, : self.end], self.fixed)], 1)
        apart = F.smooth_l1_loss(seen @ self.matrix, known[:, :RELATIVE], reduction="none").mean(1)
        there = rms > 0
        return (apart * there).sum() / there.sum().clamp_min(1)
