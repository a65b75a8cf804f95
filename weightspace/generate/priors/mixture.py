"""Several normal distributions of principal components and properties together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Generator, Tensor

from weightspace.generate.priors.conditional import JointGaussians
from weightspace.generate.priors.gaussian import RIDGE
from weightspace.generate.priors.prior import LatentPrior, Points

COMPONENTS = (1, 2, 4, 8, 16)
ROWS_EACH = 20
"""Training rows that a component takes, at least, on average."""


@final
class MixturePrior(LatentPrior):
    """A mixture of normal distributions; as many as tell held-out points best."""

    def __init__(self, joint: JointGaussians) -> None:
        self.joint = joint

    @classmethod
    def fit(cls, train: Points, held_out: Points, *, seed: int = 0) -> MixturePrior:
        """Return the mixture, by expectation maximisation."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        both, kept = (torch.cat([p.places, p.codes], 1).double().numpy() for p in (train, held_out))
        best, score = None, -float("inf")
        for count in COMPONENTS:
            if best is not None and count * ROWS_EACH > len(both):
                break
            model = GaussianMixture(count, reg_covar=RIDGE, random_state=seed, max_iter=200)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture that still moves is judged as it is
                found = float(model.fit(both).score(kept))
            if found > score:
                best, score = model, found
        assert best is not None
        weights, means, covariances = map(torch.from_numpy, (best.weights_, best.means_, best.covariances_))
        return cls(JointGaussians(weights, means, covariances, train.places.shape[1]))

    def sample(
        self, codes: Tensor, known: Tensor, *, generator: Generator, guidance: float = 1.0, temperature: float = 1.0
    ) -> Tensor:
        """See `LatentPrior.sample`."""
        return self.joint.draw(codes, known, generator)

    def state(self) -> dict[str, Tensor]:
        """See `LatentPrior.state`."""
        return self.joint.state()

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> MixturePrior:
        """See `LatentPrior.from_state`."""
        return cls(JointGaussians.from_state(state))
