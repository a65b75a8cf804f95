"""How well scores rank networks: tau with its ceiling, tau among equals, R2, accuracy, and how sure that is.

Everything takes arrays with an entry a network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import kendalltau
from sklearn.metrics import r2_score

Arrays = tuple[np.ndarray, ...]


def tau(target: np.ndarray, scores: np.ndarray) -> float:
    """Return Kendall's tau-b, 0 where either is constant."""
    found = float(kendalltau(target, scores).statistic)
    return found if np.isfinite(found) else 0.0


def tau_ceiling(target: np.ndarray) -> float:
    """Return the highest tau-b that a ranking without ties can reach against a target with ties.

    With n0 pairs, n1 of them tied in the target, `tau_b = (C - D) / sqrt((n0 - n1) n0)` and at best `C - D = n0 - n1`,
    so the ceiling is `sqrt((n0 - n1) / n0)`.

    Example:
        >>> round(tau_ceiling(np.array([0.1, 0.1, 0.9])), 4)  # 3 pairs, 1 tied: sqrt(2/3)
        0.8165
    """
    n0, n1 = _pairs(len(target)), float(_pairs(np.unique(target, return_counts=True)[1]).sum())
    return float(np.sqrt((n0 - n1) / n0)) if n0 else 0.0


def tau_within(target: np.ndarray, scores: np.ndarray, strata: np.ndarray) -> dict[str, float]:
    """Return tau among networks of equal hyper-parameters, averaged over strata by their pairs.

    Pairs tied in the target count neither for nor against, and a stratum without any other is left out. `ceiling` is
    averaged alike; `pairs` says how many pairs both rest on.
    """
    rows: list[tuple[float, float, float]] = []
    for stratum in np.unique(strata):
        same = strata == stratum
        untied = _pairs(same.sum()) - float(_pairs(np.unique(target[same], return_counts=True)[1]).sum())
        if untied:
            rows.append((untied, tau(target[same], scores[same]), tau_ceiling(target[same])))
    if not rows:
        return {"tau": float("nan"), "ceiling": float("nan"), "pairs": 0.0}
    pairs, taus, ceilings = np.array(rows).T
    return {
        "tau": float(np.average(taus, weights=pairs)),
        "ceiling": float(np.average(ceilings, weights=pairs)),
        "pairs": float(pairs.sum()),
    }


def r2(target: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of variance told."""
    return float(r2_score(target, scores))


def accuracy(target: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of networks whose highest score `(networks, classes)` is that of their class."""
    return float((scores.argmax(1) == target).mean())


def bootstrap(score: Callable[[np.ndarray], float], runs: np.ndarray, *, times: int = 500, seed: int = 0) -> np.ndarray:
    """Return `score(rows)` for `times` draws of whole runs with replacement.

    The snapshots of a run go together, since they are alike: drawn one by one they would feign certainty.
    """
    random = np.random.default_rng(seed)
    _, which = np.unique(runs, return_inverse=True)
    order = np.argsort(which, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(which))[:-1])
    draws = (random.integers(0, len(members), len(members)) for _ in range(times))
    return np.array([score(np.concatenate([members[i] for i in draw])) for draw in draws])


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_over_seeds(measure: Callable[..., float], target: np.ndarray, scores: list[np.ndarray], rows=None) -> float:
    """Return a measure averaged over the seeds of a peer, on some rows or all."""
    rows = slice(None) if rows is None else rows
    return float(np.mean([measure(target[rows], each[rows]) for each in scores]))


def _pairs(count):
    return count * (count - 1) / 2
