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

from weightspace.errors import ArchitectureError

Logits = Float[Tensor, "models inputs classes"]
Others = Float[Tensor, "others inputs classes"]
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

    Raises:
        ArchitectureError: There are no batches.

    Source: calibration error after Guo et al. (2017), "On calibration of modern neural networks", section 2.
    """
    right, loss, bins, count = _sum_batches(_score_batch(*batch) for batch in batches)
    accuracy, error = right / count, bins.abs().sum(1) / count
    return Scores(accuracy.float(), (loss / count).float(), error.float())


def _score_batch(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    logp = logits.double().log_softmax(-1)
    confidence, answer = logp.exp().max(-1)
    right = (answer == labels).double()
    loss = -logp.gather(-1, labels.expand(len(logits), -1)[..., None].long()).squeeze(-1)
    # bin i holds confidences in (i / BINS, (i + 1) / BINS]
    which = F.one_hot((confidence * BINS).nan_to_num().ceil().long().clamp(1, BINS) - 1, BINS).double()
    bins = torch.einsum("min,mi->mn", which, confidence - right)
    return right.sum(1), loss.sum(1), bins, torch.tensor(len(labels), device=logits.device)


@torch.no_grad()
def compare(batches: Iterable[tuple[Logits, Others, Labels]]) -> Comparison:
    """Return agreement, error overlap and divergence of all pairs, streamed over `(logits, others, labels)`.

    Raises:
        ArchitectureError: There are no batches.
    """
    alike, both, either, apart, count = _sum_batches(_compare_batch(*batch) for batch in batches)
    overlap = torch.where(either == 0, torch.ones_like(both), both / either)
    return Comparison((alike / count).float(), overlap.float(), (apart / count).float())


def _compare_batch(logits: Tensor, others: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    classes = logits.shape[-1]
    a, b = logits.argmax(-1), others.argmax(-1)
    alike = torch.einsum("mic,oic->mo", F.one_hot(a, classes).double(), F.one_hot(b, classes).double())
    wrong, missed = (a != labels).double(), (b != labels).double()
    both = wrong @ missed.T
    either = wrong.sum(1)[:, None] + missed.sum(1) - both
    apart = _jensen_shannon(logits.double().log_softmax(-1), others.double().log_softmax(-1))
    return alike, both, either, apart, torch.tensor(len(labels), device=logits.device)


def _sum_batches(parts: Iterable[tuple[Tensor, ...]]) -> list[Tensor]:
    """Sum of each quantity over the batches."""
    totals: list[Tensor] = []
    for part in parts:
        totals = [total + value for total, value in zip(totals, part, strict=True)] if totals else list(part)
    if not totals:
        raise ArchitectureError("no inputs to measure networks on: pass at least one batch.")
    return totals


def _jensen_shannon(logp: Tensor, logq: Tensor) -> Tensor:
    """Sum over the inputs, all pairs: `H((p + q) / 2) - (H(p) + H(q)) / 2`, one row of pairs at a time."""
    p, q = logp.exp(), logq.exp()
    entropy_p, entropy_q = torch.special.entr(p).sum((1, 2)), torch.special.entr(q).sum((1, 2))
    middle = torch.stack([torch.special.entr((one + q) / 2).sum((1, 2)) for one in p])
    return middle - (entropy_p[:, None] + entropy_q) / 2
