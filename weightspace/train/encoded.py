"""What a decoder learns from: latents of networks, what the networks answer, and what numbers of latents are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.train.into import Into, Menu

SHARP = 4.0
"""Root mean square that logits are brought to before they are compared, so that unsure networks count as sure ones."""
SHOWN, RIDGE = 256, 0.02
"""Inputs whose answers are foretold from latents; the ridge, in rows, on standardised numbers."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Networks of one architecture with their latents, and what they answer.

    Args:
        vectors: `(models, latent)`.
        answers: Logits `(models, inputs, classes)`; half precision will do.
        inputs: What they answered, `(inputs, ...)`.
        own: Their architecture.
        menu: What they are decoded into beside it.
    """

    vectors: Tensor
    answers: Tensor
    inputs: Tensor
    own: Into
    menu: Menu

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def telling(self) -> Tensor:
        """How often each network is drawn, `(models,)`: seldom where it answers all inputs alike."""
        classes = self.answers.argmax(2)
        counts = torch.stack([(classes == c).sum(1) for c in range(self.answers.shape[2])])
        commonest = counts.amax(0) / classes.shape[1]
        return 1.1 - commonest.cpu().float()


def scaled(logits: Float[Tensor, "models inputs classes"]) -> Float[Tensor, "models inputs classes"]:
    """Return logits centred over classes, of root mean square `SHARP` in each network."""
    centred = logits - logits.mean(2, keepdim=True)
    return SHARP * centred / (centred.square().mean((1, 2), keepdim=True) + 1e-6).sqrt()  # finite where all are alike


@torch.no_grad()
def answers_metric(
    groups: Sequence[Encoded], standardised: Callable[[Tensor], Tensor]
) -> Float[Tensor, "latent latent"]:
    """Return the metric in which standardised latents are as far apart as the answers that they foretell.

    Numbers of a latent are of one size, and few of them tell most of what a network answers. For each pool of inputs a
    ridge regression leads from latents to scaled answers; `W W'` of its slopes, in shares of the answers' variance, is
    averaged over the pools by their networks.

    Args:
        groups: Those of one pool share one tensor of inputs.
        standardised: Takes vectors to standardised ones.
    """
    networks, latent = sum(map(len, groups)), groups[0].vectors.shape[1]
    pools: dict[int, list[Encoded]] = {}
    for group in groups:
        pools.setdefault(id(group.inputs), []).append(group)
    found = torch.zeros(latent, latent, dtype=torch.float64, device=groups[0].vectors.device)
    for pool in pools.values():
        x = standardised(torch.cat([group.vectors for group in pool]))
        y = torch.cat([scaled(group.answers[:, :SHOWN].float()).flatten(1) for group in pool])
        x, y = x - x.mean(0), y - y.mean(0)
        square = (x.T @ x).double()
        square.diagonal().add_(RIDGE * len(x))
        slopes = torch.linalg.solve(square, (x.T @ y).double())
        found += len(x) / networks * slopes @ slopes.T / y.square().mean(0).sum()
    return found
