"""Shared errors: inputs that two networks get wrong together, by inputs that at least one gets wrong."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from weightspace.audit.answers import Answers

NEAREST = 15
"""Networks of about the same accuracy that say what is to be expected."""


def error_overlaps(mine: Answers, theirs: Answers) -> Float[np.ndarray, "models others"]:
    """Return intersection over union of the errors of all pairs; 1 where neither errs.

    Source: Zeng et al. (2025), "Generative modeling of weights: generalization or memorization?", section 3.
    """
    both = mine.wrong @ theirs.wrong.T
    either = mine.wrong.sum(1)[:, None] + theirs.wrong.sum(1) - both
    return torch.where(either == 0, torch.ones_like(both), both / either.clamp_min(1)).numpy()


def largest_overlaps(mine: Answers, theirs: Answers) -> Float[np.ndarray, " models"]:
    """Return the largest error overlap of each network with any of another run; 0 where there is none."""
    overlaps = error_overlaps(mine, theirs)
    overlaps[mine.runs[:, None] == theirs.runs[None]] = 0.0
    return overlaps.max(1)


def expected_at(
    accuracy: Float[np.ndarray, " models"],
    known: Float[np.ndarray, " others"],
    values: Float[np.ndarray, " others"],
) -> Float[np.ndarray, " models"]:
    """Return what networks of the same accuracy have: the mean over those nearest in accuracy.

    Shared errors fall as accuracy rises, so they are only ever compared at equal accuracy.

    Args:
        accuracy: Of the networks in question.
        known: Accuracies of networks to compare with.
        values: Of these networks.
    """
    near = np.abs(accuracy[:, None] - known[None]).argsort(1, kind="stable")[:, :NEAREST]
    return values[near].mean(1)


def match_accuracy(accuracy: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the row of `known` whose accuracy is nearest to each wanted one; a row may come several times.

    Example:
        >>> match_accuracy(np.array([0.1, 0.9, 0.85]), np.array([0.5, 0.88, 0.12])).tolist()
        [2, 1, 1]
    """
    return np.abs(accuracy[:, None] - known[None]).argmin(1)
