"""How new networks are: one less their largest error overlap, by that of fresh trainings of the same accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightspace.audit.answers import Answers
from weightspace.audit.overlap import expected_at, largest_overlaps

MOST = 2.0
"""Novelty, at most: networks that answer by chance are all alike, and anything else looks new beside them."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """Largest error overlaps with what was learned from.

    Args:
        largest: Of each network, with any network of another run that was learned from, or its reconstruction.
        expected: What fresh trainings of the same accuracy have with the same networks.
    """

    largest: np.ndarray
    expected: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """How far each is from the nearest, by how far a fresh training is: 0 for a copy, 1 for a fresh one."""
        return np.minimum((1 - self.largest) / np.maximum(1 - self.expected, 1e-6), MOST)


def measure_novelty(mine: Answers, learned_from: Answers, fresh: Answers) -> Novelty:
    """Return how new networks are.

    Args:
        mine: The networks in question.
        learned_from: Training networks, and the decoder's own reconstructions of them: a decoder that answers a little
            unlike what it decodes would else make every copy look new.
        fresh: Held-out trainings, measured against the same.
    """
    theirs = largest_overlaps(fresh, learned_from)
    return Novelty(largest_overlaps(mine, learned_from), expected_at(mine.accuracy, fresh.accuracy, theirs))
