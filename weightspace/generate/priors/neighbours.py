"""Between one network seen and another near to it: interpolation, the least that a prior can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Generator, Tensor

from weightspace.generate.priors.prior import LatentPrior, Points

ANCHORS, NEAR = 24, 8
"""Rows nearest to the condition that are drawn from; neighbours of the drawn one, among rows near to the condition."""


@final
class NeighboursPrior(LatentPrior):
    """A point between a row that comes near to what is asked and one of its neighbours among such rows."""

    def __init__(self, places: Tensor, codes: Tensor) -> None:
        self.places, self.codes = places, codes

    @classmethod
    def fit(cls, train: Points, held_out: Points, *, seed: int = 0) -> NeighboursPrior:
        """Return the prior that holds all training points."""
        return cls(train.places, train.codes)

    def sample(
        self, codes: Tensor, known: Tensor, *, generator: Generator, guidance: float = 1.0, temperature: float = 1.0
    ) -> Tensor:
        """See `LatentPrior.sample`."""
        found = torch.empty(len(codes), self.places.shape[1])
        for i, (asked, mask) in enumerate(zip(codes, known, strict=True)):
            near = self._near(asked, mask, generator)
            a = near[torch.randint(min(ANCHORS, len(near)), (), generator=generator)]
            apart = (self.places[near] - self.places[a]).norm(dim=1)
            ranked = near[apart.argsort()][1 : 1 + NEAR]
            b = ranked[torch.randint(len(ranked), (), generator=generator)] if len(ranked) else a
            share = torch.rand((), generator=generator)
            found[i] = slerp(self.places[a], self.places[b], share)
        return found

    def _near(self, asked: Tensor, mask: Tensor, generator: Generator) -> Tensor:
        """Rows nearest to what is asked, all if nothing is; ties in a drawn order."""
        order = torch.randperm(len(self.places), generator=generator)
        if not mask.any():
            return order
        off = (self.codes[order][:, mask] - asked[mask]).square().sum(1)
        return order[off.argsort(stable=True)][: 8 * ANCHORS]

    def state(self) -> dict[str, Tensor]:
        """See `LatentPrior.state`."""
        return {"places": self.places, "codes": self.codes}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> NeighboursPrior:
        """See `LatentPrior.from_state`."""
        return cls(state["places"], state["codes"])


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Return the point at a share of the way from `a` to `b`: direction on a great circle, length in a straight line.

    Source: Shoemake (1985), "Animating rotation with quaternion curves"; White (2016), "Sampling generative networks".

    Example:
        >>> slerp(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), 0.5).tolist()
        [1.4142135381698608, 1.4142135381698608]
    """
    long, other = a.norm(), b.norm()
    if long < 1e-9 or other < 1e-9:
        return a + share * (b - a)
    angle = ((a @ b) / (long * other)).clamp(-1, 1).acos()
    if angle < 1e-4 or angle > torch.pi - 1e-4:
        return a + share * (b - a)
    turned = ((1 - share) * angle).sin() * a / long + (share * angle).sin() * b / other
    return turned / angle.sin() * (long + share * (other - long))
