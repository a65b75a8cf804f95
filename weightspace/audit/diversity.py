"""How unlike each other the networks of a sample are, beside as many fresh trainings of the same accuracies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from weightspace.audit.answers import Answers
from weightspace.audit.overlap import error_overlaps, match_accuracy


@dataclass(frozen=True)
class Diversity:
    """Means over pairs of different runs.

    Args:
        overlap: Of errors, inside the sample.
        disagreement: Share of inputs answered differently, inside the sample.
        fresh_overlap: The same of fresh trainings.
        fresh_disagreement: The same of fresh trainings.
    """

    overlap: float
    disagreement: float
    fresh_overlap: float
    fresh_disagreement: float


def disagreements(mine: Answers, theirs: Answers) -> np.ndarray:
    """Return the share of inputs that two networks answer differently, `(models, others)`."""
    classes = int(max(mine.chosen.max(), theirs.chosen.max(), mine.labels.max())) + 1
    alike = torch.zeros(len(mine), len(theirs))
    for a in range(classes):
        alike += (mine.chosen == a).float() @ (theirs.chosen == a).float().T
    return (1 - alike / len(mine.labels)).numpy()


def measure_diversity(mine: Answers, fresh: Answers) -> Diversity:
    """Return overlaps and disagreement inside a sample and inside fresh trainings of like accuracies.

    Args:
        mine: The sample.
        fresh: Held-out trainings. For each network of the sample the nearest in accuracy counts; no network is held
            against itself.
    """
    matched = fresh.take(match_accuracy(mine.accuracy, fresh.accuracy))
    return Diversity(*(float(x) for part in (mine, matched) for x in _inside(part)))


def _inside(part: Answers) -> tuple[float, float]:
    apart = part.runs[:, None] != part.runs[None]
    if not apart.any():
        return 1.0, 0.0
    return float(error_overlaps(part, part)[apart].mean()), float(disagreements(part, part)[apart].mean())
