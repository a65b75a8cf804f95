"""A decoder learns through the networks that it makes: they are to answer what the encoded ones answer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from math import cos, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from weightspace.decode.network import DecoderNetwork
from weightspace.execute.stack import run_stacked
from weightspace.train.encoded import Encoded, answers_metric, scaled
from weightspace.train.into import Into
from weightspace.train.recorded import Recorded
from weightspace.zoo.seeds import mix_seed

MOST = 20.0
"""Divergence of one answer, at most: a network that was never trained may be sure of anything."""
WARMUP, BETAS, OWN, KEPT = 1000, (0.9, 0.98), 0.5, 0.999
"""Updates until the learning rate is at its highest; what averages of gradients and of their squares keep; share of
updates into a network's own architecture; what the average of all parameters keeps."""


def behaviour_loss(answers: Tensor, wanted: Tensor) -> Tensor:
    """How unlike answers are, as probabilities and whatever their scale.

    Divergence of the probabilities; and of the probabilities of logits that are centred over classes and brought to a
    root mean square of `SHARP`, network by network, so that networks that are hardly sure count as much, and one whose
    scale is wrong still learns which class to answer.

    Args:
        answers: Of decoded networks, `(models, inputs, classes)`.
        wanted: Of the encoded ones.
    """
    return 0.5 * _divergence(answers, wanted) + _divergence(scaled(answers), scaled(wanted))


def _divergence(answers: Tensor, wanted: Tensor) -> Tensor:
    each = F.kl_div(answers.log_softmax(2), wanted.log_softmax(2), log_target=True, reduction="none").sum(2)
    return each.clamp_max(MOST).mean()


class DecoderTraining:
    """A decoder in training.

    Args:
        network: It.
        groups: What is decoded; half of the time into its own architecture, else into one of its menu.
        learning_rate: At its highest, after a rise over 1,000 updates; a cosine brings it down by `progress`.
        noise: On each number of a latent, in its deviations, so that few networks are not learned by heart.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        network: DecoderNetwork,
        groups: Sequence[Encoded],
        *,
        learning_rate: float = 1e-3,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.network, self.groups, self.rate, self.seed, self.step = network, list(groups), learning_rate, seed, 0
        self.noise = noise
        self.shares = torch.tensor([len(group) ** 0.5 for group in groups])
        vectors = torch.cat([group.vectors for group in groups])
        network.standardise(vectors)
        network.look(vectors, answers_metric(groups, network.standardised))
        fused = groups[0].vectors.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(network.parameters(), learning_rate, BETAS, weight_decay=0.01, fused=fused)
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.recorded = Recorded(network.parameters())

    def advance(self, progress: float, *, networks: int = 32, images: int = 64) -> Tensor:
        """Make one update and return its loss, left where it was computed.

        Args:
            progress: Share of the training that is over; the learning rate falls to nothing with it.
            networks: Decoded at once; fewer where they are large.
            images: They answer.
        """
        rate = self.rate * min(1.0, (self.step + 1) / WARMUP) * (1 + cos(pi * min(progress, 1.0))) / 2
        for kind in self.optimizer.param_groups:
            kind["lr"] = rate
        draw = Generator().manual_seed(mix_seed(self.seed, "decoder", self.step))
        group = self.groups[int(torch.multinomial(self.shares, 1, generator=draw))]
        own = torch.rand((), generator=draw) < OWN
        into = group.own if own else group.menu.draw(draw)
        loss = self.recorded.backward(
            into, partial(self._loss, into), self._draw(group, into, (networks, images), draw)
        )
        size = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for parameter in self.network.parameters():  # one update that went wrong must not end the training
            if parameter.grad is not None:
                parameter.grad = torch.where(size.isfinite(), parameter.grad, 0.0)
        self.optimizer.step()
        self.step += 1
        behind = max(1 - KEPT, 10 / (9 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), behind)
        return loss

    def _draw(self, group: Encoded, into: Into, wanted: tuple[int, int], draw: Generator) -> tuple[Tensor, ...]:
        """Vectors of networks, inputs, and what the networks answer to them."""
        networks, images = wanted
        count = min(len(group), max(1, round(networks * into.together)))
        device = group.vectors.device
        places = torch.multinomial(group.telling, count, generator=draw).to(device, non_blocking=True)
        shown = torch.randint(len(group.inputs), (images,), generator=draw).to(device, non_blocking=True)
        vectors = group.vectors[places]
        if self.noise:
            drawn = torch.randn(vectors.shape, generator=draw).to(device, non_blocking=True)
            vectors = vectors + self.noise * self.network.spread * drawn
        return vectors, group.inputs[shown], group.answers[places[:, None], shown].float()

    def _loss(self, into: Into, vectors: Tensor, inputs: Tensor, answers: Tensor) -> Tensor:
        return behaviour_loss(run_lightly(into.module, self.network(vectors, into.target), inputs), answers)

    @property
    def state(self) -> dict[str, Any]:
        """All that a stopped training needs."""
        parts: dict[str, Any] = {"network": self.network, "average": self.average, "optimizer": self.optimizer}
        return {"step": self.step} | {name: part.state_dict() for name, part in parts.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.step = state["step"]
        for name, part in (("network", self.network), ("average", self.average), ("optimizer", self.optimizer)):
            part.load_state_dict(state[name])


def run_lightly(module: nn.Module, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Return answers in single precision; accelerators run in bfloat16."""
    if inputs.device.type != "cpu":
        weights = {name: t.bfloat16() if t.is_floating_point() else t for name, t in weights.items()}
        inputs = inputs.bfloat16()
    return run_stacked(module, weights, inputs).float()
