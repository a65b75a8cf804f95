"""Would a random property be told as well? Refitted many times, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64

PENALTY = 0.1
"""Of the ridge, per row, on standardised columns."""

Fold = tuple[np.ndarray, np.ndarray]


def permute_groups(groups: np.ndarray, generator: np.random.Generator) -> Int64[np.ndarray, " rows"]:
    """Return an order of rows in which groups of equal size change places, whole, and rows change places inside.

    Args:
        groups: The number of each row's group.
        generator: Draws the order.

    Example:
        >>> order = permute_groups(np.array([0, 0, 1, 1, 2]), np.random.default_rng(0))
        >>> sorted(order.tolist()), int(order[4]), abs(int(order[0] - order[1]))
        ([0, 1, 2, 3, 4], 4, 1)
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order, rows = np.empty(len(groups), np.int64), np.argsort(group, kind="stable")
    for size in np.unique(sizes):
        same = rows[sizes[group[rows]] == size].reshape(-1, size)
        order[same] = generator.permuted(same[generator.permutation(len(same))], axis=1)
    return order


def permutation_p(
    latents: Float[np.ndarray, "rows latent"],
    targets: np.ndarray,
    groups: np.ndarray,
    *,
    folds: Sequence[Fold],
    permutations: int,
    seed: int,
) -> float:
    """Return the share of random properties that are told as well as the true one, the true one among them.

    A random property is the true one with whole groups permuted, so that rows of a group stay together. Told by a
    ridge of a fixed penalty, names by the largest of one target a name; the same folds, refitted each time. A
    permutation test holds for whatever is measured, and this can be measured hundreds of times.

    Args:
        latents: Rows of which the property is known.
        targets: Numbers, or names as strings.
        groups: The number of each row's group.
        folds: Rows to fit and rows to test on.
        permutations: How many random properties.
        seed: Of the permutations.

    Source:
        Ojala and Garriga (2010), "Permutation tests for studying classifier performance", test 1; theirs permutes rows.
    """
    names = targets.dtype == object
    told = np.unique(targets)[None] == targets[:, None] if names else targets[:, None]
    told = told.astype(np.float64) - told.mean(0)
    readers = [_reader(latents, *fold) for fold in folds]
    generator = np.random.default_rng(seed)
    orders = (permute_groups(groups, generator) for _ in range(permutations))
    true = _score(readers, told, names)
    better = sum(_score(readers, told[order], names) >= true for order in orders)
    return (1 + better) / (1 + permutations)


def _reader(latents: np.ndarray, fit: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, Fold]:
    """Matrices from targets of the fitted rows to weights, and from weights to what is told of the tested ones."""
    x = latents[fit]
    centre, spread = x.mean(0), x.std(0)
    spread = np.where(spread > 0, spread, np.inf)
    x = (x - centre) / spread
    gram = x.T @ x + PENALTY * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(gram, x.T), (latents[test] - centre) / spread, (fit, test)


def _score(readers: Sequence[tuple[np.ndarray, np.ndarray, Fold]], told: np.ndarray, names: bool) -> float:
    """Rows whose name is told, or less the squared error."""
    total = 0.0
    for solve, x, (fit, test) in readers:
        centre = told[fit].mean(0)
        guess = x @ (solve @ (told[fit] - centre)) + centre
        right = guess.argmax(1) == told[test].argmax(1) if names else -np.square(guess - told[test])
        total += float(right.sum())
    return total
