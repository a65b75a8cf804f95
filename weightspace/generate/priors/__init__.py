"""Distributions over places given codes: one file each, one line in `PRIORS`."""

from __future__ import annotations

from weightspace.generate.priors.flow import FlowPrior
from weightspace.generate.priors.gan import GANPrior
from weightspace.generate.priors.gaussian import GaussianPrior
from weightspace.generate.priors.mixture import MixturePrior
from weightspace.generate.priors.neighbours import NeighboursPrior
from weightspace.generate.priors.prior import LatentPrior

PRIORS: dict[str, type[LatentPrior]] = {
    "flow": FlowPrior,
    "gan": GANPrior,
    "mixture": MixturePrior,
    "gaussian": GaussianPrior,
    "neighbours": NeighboursPrior,
}
