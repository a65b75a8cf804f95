"""How good networks are without any training step, and the best of them, judged by other inputs than chosen by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightspace.audit.answers import Answers


@dataclass(frozen=True)
class Accuracy:
    """Accuracies of many networks.

    Args:
        mean: Over the networks.
        median: Over the networks.
        best: Of the network that does best on one half of the inputs, judged by the other half.
    """

    mean: float
    median: float
    best: float


def measure_accuracy(answers: Answers) -> Accuracy:
    """Return mean, median and best; the best is not chosen on the inputs that it is judged by.

    The halves are drawn (always alike): where a file goes through its classes in turn, every other input has other
    classes than those between.

    Example:
        >>> import torch
        >>> from weightspace.audit.answers import own_runs
        >>> chosen = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.uint8)
        >>> measure_accuracy(Answers(chosen, torch.ones(4, dtype=torch.uint8), own_runs("net", 2)))
        Accuracy(mean=0.625, median=0.625, best=1.0)
    """
    right = 1 - answers.wrong
    order = np.random.default_rng(0).permutation(right.shape[1])
    choosing, judging = right[:, order[::2]].mean(1), right[:, order[1::2]].mean(1)
    best = float(judging[int(choosing.argmax())]) if right.shape[1] > 1 else float(answers.accuracy.max())
    return Accuracy(float(np.mean(answers.accuracy)), float(np.median(answers.accuracy)), best)
