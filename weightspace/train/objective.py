"""The loss of an encoder on a batch of equal networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.answers import run_networks
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import Encoding, SweepNetwork, learned_numbers
from weightspace.encode.predictor import Predictor
from weightspace.encode.properties import PROPERTIES
from weightspace.nn.constants import on
from weightspace.train.behaviour import BehaviourHead, RealAnswers
from weightspace.train.config import TrainConfig
from weightspace.train.data import Corpus
from weightspace.train.masked import MaskedHead
from weightspace.train.shown import Batch, Part, Showing, Shown, of_parts
from weightspace.train.views import moved

TEMPERATURE = 0.1


class EncoderObjective(nn.Module):
    """An encoder with its read-outs; calling it gives the losses by name.

    Numbers are learned in units of their deviation within the population. Behaviour is the logits on real inputs,
    centred over the classes and divided by their deviation, network by network. The two views of a network differ by
    noise, the first may be wider; the second is never run and lacks one block, whose statistics it is asked for.

    Args:
        config: Sizes and weights of the losses.
        corpus: What is trained on.
        start: A trained encoder, which is what learns, of these sizes; one is drawn if None.
    """

    def __init__(self, config: TrainConfig, corpus: Corpus, start: Encoder | None = None) -> None:
        super().__init__()
        generator = Generator().manual_seed(config.seed)
        self.config, real = config, RealAnswers(corpus.inputs, corpus.labels)
        self.spreads = corpus.spreads()
        if start is None:
            self.encoder = SweepNetwork(config.sizes, generator=generator)
            self.predictor = Predictor(config.sizes, corpus.classes, corpus.scales(), generator=generator)
        else:
            assert start.predictor is not None
            self.encoder, self.predictor = start.network, start.predictor
        first = torch.zeros(1, dtype=torch.long)
        answers = [(g.dataset, real.of_weights(g, g.pick(first))) for g in corpus.groups["train"]]
        widths = {dataset: told.numel() for dataset, told in answers if told is not None}
        self.behaviour = BehaviourHead(config.sizes.latent - config.sizes.fixed, widths, generator=generator)
        self.masked = MaskedHead(config.sizes, generator=generator)
        self.show = Showing(config, real, self.predictor.names)

    def encode(
        self, parts: Sequence[Part], weights: Mapping[str, Tensor], *, told: Tensor | None = None, factor: int = 1
    ) -> Encoding:
        """Return what is said of networks of one plan.

        Args:
            parts: The groups that they are of.
            weights: Theirs, one part after the other.
            told: What they answer to the probes, see `ask`; None for networks that are not run.
            factor: How many times as wide as in their groups they are.
        """
        group = parts[0][0]
        found = self.encoder(group.plan if factor == 1 else group.wider[factor][0], weights, told)
        assert isinstance(found, Encoding)
        return found

    def ask(
        self, parts: Sequence[Part], weights: Mapping[str, Tensor], moves: Sequence[Tensor | None] | None = None
    ) -> Tensor | None:
        """Return what networks answer to the probes; None where probes do not fit.

        Args:
            parts: The groups that they are of.
            weights: Theirs, one part after the other.
            moves: How the probes of each part are moved, for training; None leaves them.
        """
        if not self.config.sizes.probes or parts[0][0].shape is None:
            return None
        told = []
        for (group, _), own, drawn in zip(parts, of_parts(weights, parts), moves or [None] * len(parts), strict=True):
            assert group.shape is not None
            told.append(run_networks(group.module, own, moved(self.encoder.probes(group.shape), drawn)))
        return torch.cat(told)

    def see(self, batch: Batch, shown: Shown) -> Float[Tensor, "models latent"]:
        """Return vectors of networks as they are shown; those that are run answer without noise on their weights."""
        told = self.ask(batch.parts, shown.plain, shown.moves) if batch.run else None
        return self.encode(batch.parts, shown.noisy, told=told, factor=batch.factor).vector

    def forward(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Return the losses of a batch by name, weighted."""
        return self.losses(batch, self.show(batch, generator))

    def losses(self, batch: Batch, shown: Shown) -> dict[str, Tensor]:
        """Return the losses of networks as they are shown by name, weighted."""
        config, parts, vector = self.config, batch.parts, self.see(batch, shown)
        losses = self.property_losses(parts, vector if shown.kept is None else vector * shown.kept, shown.wanted)
        if config.behaviour and (told := self._behaviour(parts, shown.answers, vector)):
            losses["behaviour"] = config.behaviour * torch.stack(told).mean()
        if shown.other is not None:
            weights, asked = shown.other
            other = self.encode(parts, weights)
            losses["views"] = config.views * contrast(*(self._of_weights(x) for x in (vector, other.vector)))
            losses["masked"] = config.views * self.masked(other, asked)
        return losses

    def _of_weights(self, vector: Tensor) -> Tensor:
        """Learned numbers of vectors that tell of the weights."""
        sizes = self.config.sizes
        return learned_numbers(vector[:, : sizes.latent - sizes.answers], sizes.fixed)

    def property_losses(self, parts: Sequence[Part], vector: Tensor, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each property that the networks have, by name.

        Args:
            parts: The groups that they are of.
            vector: Theirs.
            wanted: What is true of them, see `Showing.recorded`.
        """
        told = self.predictor.heads(learned_numbers(vector, self.config.sizes.fixed))
        here = [name for name in wanted if any(name in group.targets for group, _ in parts)]
        numbers = [name for name in here if name not in self.predictor.classes]
        each = {name: _class_losses(told[name], wanted[name]) for name in here if name not in numbers}
        if numbers:
            each |= zip(numbers, self._number_losses(parts, [(n, told[n], wanted[n]) for n in numbers]), strict=True)
        return {name: PROPERTIES[name].weight * _mean_known(each[name], wanted[name]) for name in here}

    def _number_losses(
        self, parts: Sequence[Part], asked: Sequence[tuple[str, Tensor, Tensor]]
    ) -> Float[Tensor, "numbers models"]:
        """Losses of all numbers at once, in units of their deviation within the population of each network."""
        names = [name for name, _, _ in asked]
        told, wanted = torch.stack([t[..., 0] for _, t, _ in asked], 1), torch.stack([w for _, _, w in asked])
        mean, spread = on(_kept(tuple(self.predictor.scales[name] for name in names)), told).T[:, :, None]
        units = tuple(tuple(self.spreads[group.population].get(name, 1.0) for name in names) for group, _ in parts)
        each = zip(on(_kept(units), told), parts, strict=True)
        within = torch.cat([unit[:, None].expand(-1, len(places)) for unit, (_, places) in each], 1)
        apart = (told * spread + mean - wanted.nan_to_num()) / within
        return 2 * F.smooth_l1_loss(apart, torch.zeros_like(apart), reduction="none").mean(0)

    def _behaviour(self, parts: Sequence[Part], answers: Sequence[Tensor | None], vector: Tensor) -> list[Tensor]:
        """Loss of each part whose networks take the inputs that there are."""
        learned = learned_numbers(vector, self.config.sizes.fixed)
        found, vectors = [], learned.split([len(places) for _, places in parts])
        for (group, _), real, told in zip(parts, answers, vectors, strict=True):
            if real is None:
                continue
            centred = real - real.mean(2, keepdim=True)
            wanted = centred / centred.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-6)
            found.append(F.mse_loss(self.behaviour(told, group.dataset), wanted.flatten(1)))
        return found


def contrast(a: Tensor, b: Tensor) -> Tensor:
    """Cross-entropy of finding each network's other view among all others', both ways.

    Source: Chen et al. (2020), "A simple framework for contrastive learning of visual representations", section 2.1.
    """
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    likeness, own = a @ b.T / TEMPERATURE, torch.arange(len(a), device=a.device)
    return (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2


@lru_cache(maxsize=4096)
def _kept(rows: tuple[tuple[float, ...], ...]) -> Float[Tensor, "rows columns"]:
    """Few numbers as a tensor; kept, for what is recorded must not be made anew."""
    return torch.tensor(rows)


def _class_losses(told: Float[Tensor, "estimates models names"], wanted: Tensor) -> Float[Tensor, " models"]:
    truth = wanted.nan_to_num().long().expand(len(told), -1)
    return F.cross_entropy(told.flatten(0, 1), truth.flatten(), reduction="none").view(truth.shape).mean(0) / 2


def _mean_known(each: Float[Tensor, " models"], wanted: Tensor) -> Tensor:
    known = wanted.isfinite()
    return (each * known).sum() / known.sum().clamp_min(1)
