"""How many fresh trainings have something like them in a sample."""

from __future__ import annotations

import numpy as np

from weightspace.audit.answers import Answers
from weightspace.audit.diversity import disagreements

SHARE = 0.9
"""Of fresh trainings that as many training networks cover; it sets the radius."""


def measure_coverage(mine: Answers, fresh: Answers, train: Answers, *, seed: int = 0) -> float:
    """Return the share of fresh networks with a network of the sample as near as training networks come.

    Near is how often answers differ. The radius is that within which nine in ten fresh networks have one of as many
    training networks, of other runs, as the sample holds: so training networks would score 0.9.

    Args:
        mine: The sample.
        fresh: Held-out trainings.
        train: Networks that were learned from.
        seed: Of which of them are drawn.
    """
    rng = np.random.default_rng(seed)
    some = train.take(rng.permutation(len(train))[: len(mine)])
    apart = disagreements(fresh, some)
    apart[fresh.runs[:, None] == some.runs[None]] = np.inf
    radius = np.quantile(apart.min(1), SHARE)
    return float((disagreements(fresh, mine).min(1) <= radius).mean())
