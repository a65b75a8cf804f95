"""A decoder learns through the networks that it makes: they are to answer what the encoded ones answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from weightspace.decode.network import DecoderNetwork
from weightspace.decode.target import Target
from weightspace.execute.stack import run_stacked
from weightspace.train.objective import single

MOST = 20.0
"""Divergence of one answer, at most: a network that was never trained may be sure of anything."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Networks of one architecture with their latents.

    Args:
        vectors: `(models, latent)`.
        target: Their architecture.
        module: Runs them.
        weights: `(models, ...)` by tensor name.
    """

    vectors: Tensor
    target: Target
    module: nn.Module
    weights: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.vectors)

    @torch.no_grad()
    def answer(self, inputs: Tensor, places: Tensor | slice = slice(None)) -> Tensor:
        """Return logits `(models, inputs, classes)` of some of the networks, in single precision."""
        return run_stacked(self.module, {name: single(t[places]) for name, t in self.weights.items()}, inputs)


def behaviour_loss(answers: Tensor, wanted: Tensor) -> Tensor:
    """Divergence of the answers, and squared error of logits centred over classes and scaled network by network.

    Args:
        answers: Of decoded networks, `(models, inputs, classes)`.
        wanted: Of the encoded ones.
    """
    each = F.kl_div(answers.log_softmax(2), wanted.log_softmax(2), log_target=True, reduction="none").sum(2)
    return each.clamp_max(MOST).mean() + F.mse_loss(_shape(answers), _shape(wanted))


def _shape(logits: Tensor) -> Tensor:
    centred = logits - logits.mean(2, keepdim=True)
    return centred / (centred.square().mean((1, 2), keepdim=True).sqrt() + 1e-3)


class DecoderTraining:
    """A decoder in training.

    Args:
        network: It.
        groups: What is decoded; each into its own architecture, or into that of another group half of the time.
        inputs: Of the networks, to draw from, `(inputs, ...)`.
        learning_rate: At its highest, after a rise over 50 updates; the caller lowers it by `progress`.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        network: DecoderNetwork,
        groups: Sequence[Encoded],
        inputs: Tensor,
        *,
        learning_rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.network, self.groups, self.inputs, self.rate = network, list(groups), inputs, learning_rate
        self.draw = Generator().manual_seed(seed)
        self.shares = torch.tensor([len(group) ** 0.5 for group in groups])
        self.optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0.01)
        self.step = 0
        everything = torch.cat([group.vectors for group in groups])
        network.standardise(everything.mean(0), everything.std(0))

    def advance(self, progress: float, *, networks: int = 32, images: int = 64) -> float:
        """Make one update and return its loss.

        Args:
            progress: Share of the training that is over; the learning rate falls to nothing with it.
            networks: Decoded at once.
            images: They answer.
        """
        for kind in self.optimizer.param_groups:
            kind["lr"] = self.rate * min(1.0, (self.step + 1) / 50) * (1 - progress)
        group, other = (
            self.groups[i] for i in torch.multinomial(self.shares, 2, replacement=True, generator=self.draw)
        )
        into = other if torch.rand((), generator=self.draw) < 0.5 else group
        device = self.inputs.device
        places = torch.randperm(len(group), generator=self.draw)[:networks].to(device)
        shown = self.inputs[torch.randint(len(self.inputs), (images,), generator=self.draw).to(device)]
        decoded = self.network(group.vectors[places], into.target)
        loss = behaviour_loss(run_stacked(into.module, decoded, shown), group.answer(shown, places))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())
