"""What a peer's raw outputs mean: a share between 0 and 1, a number, or a class; one loss for each, for all peers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.encoder.data import Networks
from benchmarks.encoder.scores import accuracy, r2, tau


@dataclass(frozen=True)
class Target:
    """How outputs are read.

    Args:
        kind: `share` is a sigmoid's output under cross-entropy (an accuracy); `number` is standardised under squared
            error; `class` is a softmax under cross-entropy.
        outputs: How many raw outputs a network gets.
        centre: Raw output 0 means this: the training mean (in logits for a share).
        spread: Training deviation of a number.
    """

    kind: str
    outputs: int = 1
    centre: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, train: Networks) -> Target:
        """Return how to read the target of training networks."""
        values = train.target
        if values.dtype == torch.long:
            return cls("class", max(int(values.max()) + 1, int(train.frame.attrs.get("classes", 0))))
        mean = float(values.mean())
        if float(values.min()) >= 0 and float(values.max()) <= 1:
            return cls("share", centre=float(torch.logit(torch.tensor(mean), eps=1e-4)))
        return cls("number", centre=mean, spread=max(float(values.std()), 1e-12))

    def loss(self, raw: Tensor, values: Tensor) -> Tensor:
        """Mean loss of raw outputs `(networks, outputs)`."""
        if self.kind == "class":
            return F.cross_entropy(raw, values)
        if self.kind == "share":
            return F.binary_cross_entropy_with_logits(raw[:, 0] + self.centre, values)
        return F.mse_loss(raw[:, 0], (values - self.centre) / self.spread)

    def read(self, raw: Tensor) -> Tensor:
        """Scores: in the unit of the target, or one a class."""
        if self.kind == "class":
            return raw
        return torch.sigmoid(raw[:, 0] + self.centre) if self.kind == "share" else raw[:, 0] * self.spread + self.centre

    def quality(self, values: Tensor, scores: Tensor) -> float:
        """What validation selects by: accuracy, or the mean of tau and R2 (at least -1), the two that are reported."""
        known, told = values.cpu().numpy(), scores.float().cpu().numpy()
        return accuracy(known, told) if self.kind == "class" else (tau(known, told) + max(-1.0, r2(known, told))) / 2
