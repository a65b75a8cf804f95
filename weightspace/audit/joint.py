"""Good and new at once: the share of networks above both thresholds, over a fixed grid of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the accuracies of the training zoo: thresholds of accuracy."""
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the novelty of a fresh training: thresholds of novelty."""
DRAWS = 200


@dataclass(frozen=True)
class Joint:
    """Area over the grid, with an interval of 95%.

    Args:
        area: Mean over the thresholds of the share of networks above both.
        low: End of the interval.
        high: End of the interval.
    """

    area: float
    low: float
    high: float


def measure_joint(
    accuracy: np.ndarray, novelty: np.ndarray, zoo: np.ndarray, runs: np.ndarray, *, seed: int = 0
) -> Joint:
    """Return the area of a sample, bootstrapped by run.

    Args:
        accuracy: Of each network.
        novelty: Of each network, 1 for that of a fresh training.
        zoo: Accuracies of the training networks, which set the thresholds before anything is drawn.
        runs: Of each network; for what was made from one training network, that one's.
        seed: Of the bootstrap.
    """
    reached = (accuracy[:, None] >= np.quantile(zoo, QUANTILES)[None])[:, :, None]
    each = (reached & (novelty[:, None] >= np.array(SHARES)[None])[:, None]).mean((1, 2))
    low, high = bootstrap_mean(each, runs, seed=seed)
    return Joint(float(each.mean()), low, high)


def bootstrap_mean(values: np.ndarray, runs: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the interval of 95% of a mean when whole runs are drawn again.

    Source: Efron and Tibshirani (1993), "An introduction to the bootstrap", chapter 13 (percentiles).
    """
    rng = np.random.default_rng(seed)
    names, which = np.unique(runs.astype(str), return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    drawn = rng.integers(0, len(names), (DRAWS, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
