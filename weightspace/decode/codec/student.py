"""Weights on grids that learn: one row of numbers a network, all tensors after each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.decode.codec.grid import FINE, LOWEST, OCTAVES, Grid
from weightspace.decode.codec.schemes.feedback import Fed
from weightspace.decode.codec.source import Source

OCTAVE = math.log(2)
FARTHEST = 2.0**14
"""Steps from zero up to which numbers are counted one by one."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """What a student has become.

    Args:
        tensors: All tensors, `(models, ...)` by name, on their grids; gradients pass the rounding.
        steps: Index of the step of each tensor, `(models, tensors)`.
        numbers: Of steps, `(models, weights)`, whole.
        bits: Of a double exponential over the numbers before they were rounded, with a gradient, `(models,)`.
        gap: Squared distance of the numbers before they were rounded to the numbers, summed, `(models,)`.
    """

    tensors: Mapping[str, Tensor]
    steps: Float[Tensor, "models tensors"]
    numbers: Float[Tensor, "models weights"]
    bits: Float[Tensor, " models"]
    gap: Float[Tensor, " models"]


class Student:
    """Weights over the root mean square of their tensors, steps and spreads, of networks of one architecture.

    Args:
        sources: The networks.
        stack: `(models, ...)` by name, as they are stored.
        starts: What feedback made of them, to begin with.
    """

    def __init__(
        self, sources: Sequence[Source], stack: Mapping[str, Tensor], starts: Sequence[Mapping[str, Fed]]
    ) -> None:
        self.sources, self.stack = sources, stack
        self.layout = layout = sources[0].layout
        self.counts = [prod(p.shape) for p in layout.places]
        device = stack[layout.places[0].name].device
        self.which = torch.repeat_interleave(torch.tensor(self.counts)).to(device)
        whole = torch.cat([stack[p.name].flatten(1) for p in layout.places], 1)
        self.foretold = _foretold(sources).to(whole)
        whole = whole - self.foretold
        begun = torch.stack([torch.cat([_flat(p.stored(f[p.name].unrounded)) for p in layout.places]) for f in starts])
        log2 = [[math.log2(f[p.name].grid.size) for p in layout.places] for f in starts]
        steps = torch.tensor(log2, device=device) * OCTAVE
        self.sizes = self._means(whole.square()).sqrt().clamp(min=1e-12)
        self.values = (begun.to(whole) / self.sizes[:, self.which]).requires_grad_()
        self.spreads = (self._means(whole.abs()) / steps.exp()).clamp(min=0.05).log().requires_grad_()
        self.steps = steps.requires_grad_()

    def _means(self, flat: Tensor) -> Float[Tensor, "models tensors"]:
        return torch.stack([part.mean(1) for part in flat.split(self.counts, 1)], 1)

    def rounded(self) -> Rounded:
        """Return the weights on the grids whose steps are nearest to those learned."""
        index = ((self.steps / OCTAVE + LOWEST) * FINE).round().clamp(0, FINE * OCTAVES - 1).detach()
        nearest = (index / FINE - LOWEST) * OCTAVE
        step = (self.steps + (nearest - self.steps).detach()).exp()
        u = self.values * (self.sizes / step)[:, self.which]
        q = u + (u.round() - u).detach()
        parts = (q * step[:, self.which] + self.foretold).split(self.counts, 1)
        shaped = {p.name: w.reshape(-1, *p.shape) for p, w in zip(self.layout.places, parts, strict=True)}
        numbers = q.detach()
        bits = double_exponential_bits(u, self.spreads.exp()[:, self.which]).sum(1)
        return Rounded({**self.stack, **shaped}, index, numbers, bits, (u - numbers).square().sum(1))

    def entropy(self, numbers: Float[Tensor, "models weights"]) -> Float[Tensor, " models"]:
        """Return the entropies of the numbers of each tensor times their count, over all tensors, in bits."""
        numbers = numbers.clamp(-FARTHEST, FARTHEST)
        low = numbers.min()
        places = int(numbers.max() - low) + 1
        counts = numbers.new_zeros(len(numbers), places * len(self.counts))
        counts.scatter_add_(1, (self.which * places + numbers - low).long(), torch.ones_like(numbers))
        each = torch.tensor(self.counts, device=numbers.device)
        shares = counts.view(len(numbers), -1, places) / each[:, None]
        return (torch.special.entr(shares).sum(2) * each).sum(1) / OCTAVE

    @torch.no_grad()
    def grids(self, rounded: Rounded, model: int) -> list[Grid]:
        """Return the grids of one network."""
        numbers = rounded.numbers[model].cpu().double().numpy()
        parts = np.split(np.rint(numbers).astype(np.int64), np.cumsum(self.counts)[:-1])
        steps = rounded.steps[model].long().tolist()
        return [
            Grid(p.matrix(part.reshape(p.shape)), step)
            for p, part, step in zip(self.layout.places, parts, steps, strict=True)
        ]


def double_exponential_bits(
    values: Float[Tensor, "models weights"], spread: Float[Tensor, "models weights"]
) -> Float[Tensor, "models weights"]:
    """Return `-log2` of the mass between `values - 1/2` and `values + 1/2`, smooth in both arguments."""
    size, spread = values.abs(), spread.clamp(min=0.02)
    half = (0.5 / spread).clamp(max=30)
    tail = torch.sinh(half).log() - size / spread
    middle = (1 - (-half).exp() * torch.cosh((size / spread).clamp(max=30))).clamp(min=1e-9).log()
    return -torch.where(size < 0.5, middle, tail) / OCTAVE


def _foretold(sources: Sequence[Source]) -> Tensor:
    """A row a network; one zero where nothing is foretold."""
    rows = [
        torch.cat([_flat(p.stored(s.foretold[p.name])) for p in s.layout.places])
        for s in sources
        if s.foretold is not None
    ]
    return torch.stack(rows) if rows else torch.zeros(1, 1)


def _flat(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).reshape(-1)
