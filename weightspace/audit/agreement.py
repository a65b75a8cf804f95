"""How alike two sets of networks answer: agreement, kappa, accuracies, diversity."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Generator, Tensor

FINISHED = 0.25
"""Accuracy from which a network counts as finished."""
PAIRS = 2000
"""That are drawn to measure diversity."""

Classes = Shaped[Tensor, "models inputs"]


def compare_answers(decoded: Classes, wanted: Classes, labels: Shaped[Tensor, " inputs"]) -> dict[str, float]:
    """Return how alike the answers are of networks and the originals that they stand for, row by row.

    Of all networks, and of those whose original is finished where these are more than two (`_of_finished`); what two
    finished originals of nearly equal accuracy agree is `equals_of_finished`.

    Args:
        decoded: Classes that the networks answer.
        wanted: Classes that the originals answer.
        labels: Right answers.
    """
    found = _compare(decoded, wanted, labels)
    theirs = (wanted == labels).float().mean(1)
    finished = theirs >= FINISHED
    if finished.sum() > 2:
        some = _compare(decoded[finished], wanted[finished], labels)
        found |= {f"{name}_of_finished": value for name, value in some.items()}
        order = theirs[finished].argsort()
        near = [float((wanted[finished][a] == wanted[finished][b]).float().mean()) for a, b in pairwise(order)]
        found["equals_of_finished"] = float(np.mean(near))
    return found


def _compare(decoded: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, float]:
    ours, theirs = ((x == labels).float().mean(1) for x in (decoded, wanted))
    return {
        "networks": float(len(wanted)),
        "agreement": float((decoded == wanted).float().mean()),
        "kappa": float(np.mean([kappa(a, b) for a, b in zip(decoded, wanted, strict=True)])),
        "accuracy": float(ours.mean()),
        "accuracy_of_originals": float(theirs.mean()),
        "correlation": _correlation(ours, theirs),
        "disagreement_share": _share(disagreement(decoded), disagreement(wanted)),
    }


def _correlation(a: Tensor, b: Tensor) -> float:
    """NaN where one of the two does not vary."""
    varies = len(a) > 1 and float(a.std()) > 0 and float(b.std()) > 0
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1]) if varies else float("nan")


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def kappa(a: Shaped[Tensor, " inputs"], b: Shaped[Tensor, " inputs"]) -> float:
    """Return Cohen's kappa of two lists of classes; 0 where both name one class alone.

    Source: Cohen (1960), "A coefficient of agreement for nominal scales".

    Example:
        >>> kappa(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]))
        0.5
    """
    count = int(max(a.max(), b.max())) + 1
    expected = float((torch.bincount(a, minlength=count) * torch.bincount(b, minlength=count)).sum()) / len(a) ** 2
    return 0.0 if expected == 1 else (float((a == b).float().mean()) - expected) / (1 - expected)


def disagreement(answers: Classes) -> float:
    """Return the share of inputs that two networks answer differently, mean over drawn pairs."""
    generator = Generator().manual_seed(0)
    a, b = (torch.randint(len(answers), (PAIRS,), generator=generator) for _ in range(2))
    return float((answers[a] != answers[b])[a != b].float().mean()) if len(answers) > 1 else float("nan")
