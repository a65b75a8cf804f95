"""How networks behave: alone (accuracy, loss, calibration) and in pairs (agreement, shared errors, divergence).

Everything works on stacks of logits `(models, inputs, classes)` and is streamed over batches of inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Logits = Float[Tensor, "models inputs classes"]
Labels = Int[Tensor, " inputs"]

BINS = 15


@dataclass(frozen=True, eq=False)
class Scores:
    """How each network of a stack does on its own.

    Args:
        accuracy: Share of right answers, 0 to 1.
        loss: Mean cross-entropy in nats.
        calibration_error: Mean distance between confidence and accuracy over 15 equal bins of confidence, weighted by
            how many inputs fall into each.
    """

    accuracy: Float[Tensor, " models"]
    loss: Float[Tensor, " models"]
    calibration_error: Float[Tensor, " models"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """How each network of one stack compares with each of another.

    Args:
        agreement: Share of inputs answered alike, 0 to 1.
        error_overlap: Inputs that both get wrong, by inputs that at least one gets wrong (intersection over union);
            1 where neither errs.
        divergence: Mean Jensen-Shannon divergence of the predicted distributions, in nats, 0 to log 2.
    """

    agreement: Float[Tensor, "models others"]
    error_overlap: Float[Tensor, "models others"]
    divergence: Float[Tensor, "models others"]


@torch.no_grad()
def score(batches: Iterable[tuple[Logits, Labels]]) -> Scores:
    """Return accuracy, loss and calibration of each network, streamed over batches of `(logits, labels)`.

    Source: calibration error after Guo et al. (2017), "On calibration of modern neural networks", section 2.
    """
    total: Tensor | float = 0.0
    bins: Tensor | float = 0.0
    count = 0
    for logits, labels in batches:
        logp = logits.double().log_softmax(-1)
        confidence, answer = logp.exp().max(-1)
        right = (answer == labels).double()
        loss = -logp.gather(-1, labels.expand(len(logits), -1)[..., None].long()).squeeze(-1)
        total = total + torch.stack([right.sum(1), loss.sum(1)])
        which = F.one_hot((confidence * BINS).nan_to_num().long().clamp(0, BINS - 1), BINS).double()
        bins = bins + torch.einsum("min,mi->mn", which, confidence - right)
        count += len(labels)
    assert isinstance(total, Tensor) and isinstance(bins, Tensor), "at least one batch"
    return Scores((total[0] / count).float(), (total[1] / count).float(), (bins.abs().sum(1) / count).float())


@torch.no_grad()
def compare(batches: Iterable[tuple[Logits, Logits, Labels]]) -> Comparison:
    """Return agreement, error overlap and divergence of all pairs, streamed over `(logits, others, labels)`."""
    alike: Tensor | float = 0.0
    both: Tensor | float = 0.0
    either: Tensor | float = 0.0
    apart: Tensor | float = 0.0
    count = 0
    for logits, others, labels in batches:
        classes = logits.shape[-1]
        a, b = logits.argmax(-1), others.argmax(-1)
        alike = alike + torch.einsum("mic,oic->mo", F.one_hot(a, classes).double(), F.one_hot(b, classes).double())
        wrong, missed = (a != labels).double(), (b != labels).double()
        shared = wrong @ missed.T
        both, either = both + shared, either + wrong.sum(1)[:, None] + missed.sum(1) - shared
        apart = apart + _jensen_shannon(logits.double().log_softmax(-1), others.double().log_softmax(-1))
        count += len(labels)
    assert isinstance(alike, Tensor) and isinstance(both, Tensor), "at least one batch"
    overlap = torch.where(either == 0, torch.ones_like(both), both / either)
    return Comparison((alike / count).float(), overlap.float(), (apart / count).float())


def _jensen_shannon(logp: Tensor, logq: Tensor) -> Tensor:
    """Sum over the inputs, all pairs: `H((p + q) / 2) - (H(p) + H(q)) / 2`, one row of pairs at a time."""
    p, q = logp.exp(), logq.exp()
    entropy_p, entropy_q = torch.special.entr(p).sum((1, 2)), torch.special.entr(q).sum((1, 2))
    middle = torch.stack([torch.special.entr((one + q) / 2).sum((1, 2)) for one in p])
    return middle - (entropy_p[:, None] + entropy_q) / 2
