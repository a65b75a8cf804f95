"""The loss of an encoder on a batch of equal networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from weightspace.encode.answers import run_networks
from weightspace.encode.network import SweepNetwork
from weightspace.encode.predictor import Predictor
from weightspace.encode.properties import PROPERTIES
from weightspace.train.behaviour import BehaviourHead
from weightspace.train.config import TrainConfig
from weightspace.train.data import Corpus, Group

TEMPERATURE = 0.1


@dataclass(frozen=True, eq=False)
class Batch:
    """Some networks of a group.

    Args:
        group: They are of.
        places: Which.
        run: Whether the networks are run on the probes.
        paired: Whether there are two views of them.
        factor: How many times as wide the first view is.
    """

    group: Group
    places: Tensor
    run: bool
    paired: bool
    factor: int = 1


class EncoderObjective(nn.Module):
    """An encoder with its read-outs; calling it gives the losses by name.

    Numbers are learned in units of their deviation within the population. Behaviour is the logits on real inputs,
    centred over the classes and divided by their deviation, network by network. The two views of a network differ by
    noise, the first may be wider, and the second is never run.

    Args:
        config: Sizes and weights of the losses.
        corpus: What is trained on.
    """

    def __init__(self, config: TrainConfig, corpus: Corpus) -> None:
        super().__init__()
        generator = Generator().manual_seed(config.seed)
        self.config, self.inputs = config, dict(corpus.inputs)
        self.spreads = corpus.spreads()
        latent = config.sizes.latent
        self.encoder = SweepNetwork(config.sizes, generator=generator)
        self.predictor = Predictor(latent, corpus.classes, corpus.scales(), generator=generator)
        widths = {
            g.dataset: len(inputs) * _outputs(g, inputs)
            for g in corpus.groups["train"]
            if (inputs := self.shown(g)) is not None
        }
        self.behaviour = BehaviourHead(latent, widths, generator=generator)

    def encode(
        self, group: Group, weights: Mapping[str, Tensor], *, run: bool, wider: tuple[int, Generator] | None = None
    ) -> Tensor:
        """Return the vectors of networks of a group.

        Args:
            group: They are of.
            weights: Theirs.
            run: Whether they are run on the probes.
            wider: A factor by which they are widened first, and what draws the shares of the copies.
        """
        answers, plan = None, group.plan
        if run and self.config.sizes.probes and group.shape is not None:
            answers = run_networks(group.module, weights, self.encoder.probes(group.shape))
        if wider is not None:  # they answer what they answered
            plan, widening = group.wider[wider[0]]
            weights = widening(weights, wider[1])
        return self.encoder(plan, weights, answers).vector

    def forward(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Return the losses of a batch by name, weighted."""
        config, group = self.config, batch.group
        plain = {name: single(t[batch.places]) for name, t in group.weights.items()}
        learned = [name for name, _ in group.module.named_parameters()]  # noise could make a variance negative
        weights = _with_noise(plain, learned, config.noise, generator)
        wider = None if batch.factor == 1 else (batch.factor, generator)
        vector = _drop(self.encode(group, weights, run=batch.run, wider=wider), config.drop, generator)
        losses = self.property_losses(group, batch.places, vector)
        if config.behaviour and (inputs := self.shown(group)) is not None:
            losses["behaviour"] = config.behaviour * self._behaviour(group, (weights, inputs), vector)
        if config.views and batch.paired:
            noisy = _with_noise(plain, learned, config.noise, generator)
            losses["views"] = config.views * contrast(vector, self.encode(group, noisy, run=False))
        return losses

    def property_losses(self, group: Group, places: Tensor, vector: Tensor) -> dict[str, Tensor]:
        """Return the loss of each property that the group's networks have, by name."""
        losses: dict[str, Tensor] = {}
        for told in self.predictor.heads(vector):
            for name, predicted in told.items():
                if name not in group.targets:
                    continue
                wanted = group.targets[name][places]
                known = wanted.isfinite()
                if name in self.predictor.classes:
                    each = F.cross_entropy(predicted, wanted.nan_to_num().long(), reduction="none") / 4
                else:
                    (mean, spread), unit = self.predictor.scales[name], self.spreads[group.population][name]
                    apart = predicted[:, 0] * spread + mean - wanted.nan_to_num()
                    each = F.smooth_l1_loss(apart / unit, torch.zeros_like(apart), reduction="none")
                loss = PROPERTIES[name].weight * (each * known).sum() / known.sum().clamp_min(1)
                losses[name] = losses.get(name, each.new_zeros(())) + loss
        return losses

    def shown(self, group: Group) -> Tensor | None:
        """Return the real inputs on which answers of a group are predicted; None where its networks take others."""
        inputs = self.inputs.get(group.dataset)
        return inputs if inputs is not None and tuple(inputs.shape[1:]) == group.shape else None

    def _behaviour(self, group: Group, asked: tuple[Mapping[str, Tensor], Tensor], vector: Tensor) -> Tensor:
        with torch.no_grad():
            answers = run_networks(group.module, *asked)
            centred = answers - answers.mean(2, keepdim=True)
            wanted = centred / centred.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-6)
        return F.mse_loss(self.behaviour(vector, group.dataset), wanted.flatten(1))


def contrast(a: Tensor, b: Tensor) -> Tensor:
    """Cross-entropy of finding each network's other view among all others', both ways.

    Source: Chen et al. (2020), "A simple framework for contrastive learning of visual representations", section 2.1.
    """
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    likeness, own = a @ b.T / TEMPERATURE, torch.arange(len(a), device=a.device)
    return (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2


def single(tensor: Tensor) -> Tensor:
    """Floats in single precision, whole numbers as they are."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _with_noise(
    weights: Mapping[str, Tensor], names: Sequence[str], most: float, generator: Generator
) -> dict[str, Tensor]:
    """Weights with noise: up to `most` of each tensor's root mean square, another share for each network."""
    found, device = dict(weights), generator.device
    share = most * torch.rand(len(weights[names[0]]), generator=generator, device=device)
    for name in names:
        tensor = weights[name]
        size = (share * tensor.square().flatten(1).mean(1).sqrt()).view(-1, *[1] * (tensor.ndim - 1))
        found[name] = tensor + size * torch.randn(tensor.shape, generator=generator, device=device)
    return found


def _drop(vector: Tensor, share: float, generator: Generator) -> Tensor:
    """Vectors with a share of their numbers set to 0 and the rest enlarged, so that no read-out leans on a few."""
    if not share:
        return vector
    kept = torch.rand(vector.shape, generator=generator, device=vector.device) >= share
    return vector * kept / (1 - share)


def _outputs(group: Group, inputs: Tensor) -> int:
    with torch.no_grad():
        first = {name: single(t[:1]) for name, t in group.weights.items()}
        return run_networks(group.module, first, inputs[:1]).shape[-1]
