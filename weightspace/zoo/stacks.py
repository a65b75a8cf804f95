"""Networks of a population, stacked by architecture with what it takes to run and to encode them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from torch import Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.encode.stacked import encode_networks
from weightspace.errors import ZooError
from weightspace.graph.trace.program import Program
from weightspace.zoo.store import Population


@dataclass(frozen=True, eq=False)
class Stack:
    """Networks of one architecture of a population.

    Args:
        rows: Of the manifest.
        text: The program of the architecture.
        module: Runs them.
        weights: `(models, ...)` by tensor name, in single precision.
    """

    rows: pd.DataFrame
    text: str
    module: nn.Module
    weights: Mapping[str, Tensor]

    @cached_property
    def program(self) -> Program:
        """Of the architecture."""
        return Program.from_json(self.text)

    @property
    def first(self) -> Checkpoint:
        """The first network."""
        return Checkpoint({n: t[0].cpu() for n, t in self.weights.items()}, {"architecture": self.text})


def stack_rows(population: Population, rows: pd.DataFrame, device: str = "cpu") -> Iterator[Stack]:
    """Yield the networks of rows, architecture by architecture.

    Raises:
        ZooError: The population does not say how its networks are built, or weights are missing.
    """
    for name, same in rows.groupby("architecture", observed=True, sort=True):
        text = population.program(str(name))
        if text is None:
            raise ZooError(f"{population.folder}: does not say how networks of {name} are run.")
        stacked = population.stack(same).items()
        weights = {n: t.float().to(device) if t.is_floating_point() else t.to(device) for n, t in stacked}
        yield Stack(same, text, population.module(str(name)).eval().to(device), weights)


def encode_stack(encoder: Encoder, stack: Stack) -> Tensor:
    """Return the vectors of networks, `(models, latent)`, as the encoder has them of their checkpoints.

    It computes where the weights lie, in full precision.
    """
    device = str(next(iter(stack.weights.values())).device)
    if device != encoder.how.team.device:
        encoder.to(device, encoder.network.scale.dtype)
    return encode_networks(encoder, encoder.architectures.of(stack.first), stack.weights).vector.float().to(device)
