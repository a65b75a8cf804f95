"""One normal distribution of principal components and properties together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Generator, Tensor

from weightspace.generate.priors.conditional import JointGaussians
from weightspace.generate.priors.prior import LatentPrior, Points

RIDGE = 1e-2
"""Added to every variance: codes of names depend on each other."""


@final
class GaussianPrior(LatentPrior):
    """A normal distribution, conditioned in closed form; the mean moves in a straight line with what is asked."""

    def __init__(self, joint: JointGaussians) -> None:
        self.joint = joint

    @classmethod
    def fit(cls, train: Points, held_out: Points, *, seed: int = 0) -> GaussianPrior:
        """Return the normal distribution with the moments of the training points."""
        return cls(joint_moments(train))

    def sample(
        self, codes: Tensor, known: Tensor, *, generator: Generator, guidance: float = 1.0, temperature: float = 1.0
    ) -> Tensor:
        """See `LatentPrior.sample`."""
        return self.joint.draw(codes, known, generator)

    def state(self) -> dict[str, Tensor]:
        """See `LatentPrior.state`."""
        return self.joint.state()

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> GaussianPrior:
        """See `LatentPrior.from_state`."""
        return cls(JointGaussians.from_state(state))


def joint_moments(points: Points) -> JointGaussians:
    """Return the normal distribution of places and codes together."""
    return JointGaussians.of(torch.cat([points.places, points.codes], 1), points.places.shape[1], RIDGE)
