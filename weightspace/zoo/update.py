"""One update rule for a stack of networks, each with its own optimizer, learning rate and decay.

    g  <- g + decay w            (coupled decay)
    m  <- b1 m + c1 g            v <- b2 v + (1 - b2) g^2
    w  <- (1 - rate decay) w     (decoupled decay)
    w  <- w - rate (m / k1) / (sqrt(v / k2) + eps  if adaptive else  1)

SGD, momentum, RMSProp, Adam and AdamW are rows of one table of coefficients, so that they train side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """Coefficients of one optimizer; `b1` and `b2` as above."""

    b1: float = 0.0
    b2: float = 0.0
    adaptive: bool = False
    averaged: bool = False
    corrected: bool = False
    decoupled: bool = False


RULES = {
    "sgd": Rule(),
    "momentum": Rule(b1=0.9),
    "rmsprop": Rule(b2=0.99, adaptive=True),
    "adam": Rule(b1=0.9, b2=0.999, adaptive=True, averaged=True, corrected=True),
    "adamw": Rule(b1=0.9, b2=0.999, adaptive=True, averaged=True, corrected=True, decoupled=True),
}
EPSILON = 1e-8


class StackedUpdate:
    """Optimizer of a matrix `(models, weights)`; each row follows its own rule.

    The same numbers as `torch.optim.{SGD, RMSprop, Adam, AdamW}` with their defaults (momentum 0.9).

    Source: Kingma and Ba (2015); Loshchilov and Hutter (2019); Tieleman and Hinton (2012), lecture 6.5.
    """

    def __init__(self, optimizers: Sequence[str], rates: Sequence[float], decays: Sequence[float], weights: Tensor):
        rules = [RULES[name] for name in optimizers]

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=weights.device)[:, None]

        self.rate, self.b1, self.b2 = column(rates), column([r.b1 for r in rules]), column([r.b2 for r in rules])
        self.gain = column([1 - r.b1 if r.averaged else 1.0 for r in rules])
        self.corrected = column([float(r.corrected) for r in rules])
        self.adaptive = column([float(r.adaptive) for r in rules]) > 0
        self.coupled = column([d * (not r.decoupled) for r, d in zip(rules, decays, strict=True)])
        self.decoupled = column([d * r.decoupled for r, d in zip(rules, decays, strict=True)])
        self.first, self.second = torch.zeros_like(weights), torch.zeros_like(weights)

    def propose(
        self, weights: Float[Tensor, "models weights"], grad: Float[Tensor, "models weights"], step: int
    ) -> Float[Tensor, "models weights"]:
        """Return the weights after step `step` (from 1), and remember the moments."""

        def cast(x: Tensor) -> Tensor:
            return x.to(weights.dtype)

        g = grad + cast(self.coupled) * weights
        self.first = cast(self.b1) * self.first + cast(self.gain) * g
        self.second = cast(self.b2) * self.second + cast(1 - self.b2) * g * g
        bias1 = 1 - self.corrected * self.b1**step
        bias2 = 1 - self.corrected * self.b2**step
        size = torch.where(self.adaptive, self.second.sqrt() * cast(bias2.rsqrt()) + EPSILON, 1.0)
        return weights * cast(1 - self.rate * self.decoupled) - cast(self.rate / bias1) * self.first / size
