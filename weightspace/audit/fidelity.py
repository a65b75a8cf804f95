"""Do networks have what was asked of them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr


@dataclass(frozen=True)
class Fidelity:
    """Asked against achieved.

    Args:
        spearman: Rank correlation; NaN where one thing was asked of all.
        gap: Mean absolute difference.
        count: Networks.
    """

    spearman: float
    gap: float
    count: int


def measure_fidelity(asked: np.ndarray, achieved: np.ndarray) -> Fidelity:
    """Return how closely numbers were achieved.

    Example:
        >>> measure_fidelity(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5, 0.8]))
        Fidelity(spearman=1.0, gap=0.06666666666666667, count=3)
    """
    asked, achieved = (np.asarray(x, np.float64) for x in (asked, achieved))
    if not len(asked):
        return Fidelity(float("nan"), float("nan"), 0)
    constant = np.ptp(asked) < 1e-9 or np.ptp(achieved) < 1e-9
    rank = float("nan") if constant else float(spearmanr(asked, achieved).statistic)
    return Fidelity(rank, float(np.abs(asked - achieved).mean()), len(asked))
