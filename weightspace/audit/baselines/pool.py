"""Training networks of one architecture that baselines are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import AuditError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.align import align


@dataclass(frozen=True, eq=False)
class Pool:
    """Networks that meet the condition which generated ones were asked to meet.

    Args:
        weights: Stacked, in single precision.
        runs: Of each network.
        graph: Of the architecture.
        module: An untrained module of it.
    """

    weights: Mapping[str, Tensor]
    runs: np.ndarray
    graph: ParameterGraph
    module: nn.Module

    def __post_init__(self) -> None:
        if not len(self.runs):
            raise AuditError("no training network meets the condition, so there is none to make baselines from.")

    def __len__(self) -> int:
        return len(self.runs)

    def checkpoint(self, row: int) -> Checkpoint:
        """Return one network."""
        return Checkpoint({name: tensor[row] for name, tensor in self.weights.items()}, {})

    def aligned(self, row: int, like: int) -> dict[str, Tensor]:
        """Return the weights of one network, its units matched to those of another."""
        if row == like:
            return dict(self.checkpoint(row).tensors)
        return dict(align(self.checkpoint(row), self.checkpoint(like), self.graph).tensors)

    @cached_property
    def to_first(self) -> dict[str, Tensor]:
        """All networks with units matched to those of the first, stacked."""
        moved = [self.aligned(row, 0) for row in range(len(self))]
        return {name: torch.stack([tensors[name] for tensors in moved]) for name in self.weights}

    def draw(self, count: int, generator: Generator) -> list[int]:
        """Draw so many networks, each once while they last."""
        rows: list[int] = []
        while len(rows) < count:
            rows += torch.randperm(len(self), generator=generator).tolist()
        return rows[:count]
