"""The loss of an encoder on a batch of equal networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.answers import run_networks
from weightspace.encode.network import Encoding, SweepNetwork, learned_numbers
from weightspace.encode.predictor import Predictor
from weightspace.encode.properties import PROPERTIES, WIRINGS
from weightspace.train.behaviour import BehaviourHead, RealAnswers
from weightspace.train.config import TrainConfig
from weightspace.train.data import Corpus, Group
from weightspace.train.masked import MaskedHead, blanked
from weightspace.train.views import dropped, moved, with_damage, with_noise, with_shuffled

TEMPERATURE = 0.1
SHUFFLED = float(WIRINGS.index("shuffled"))

Part = tuple[Group, Tensor]
"""Some networks of a group: which."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Networks of one plan.

    Args:
        parts: Of each population.
        run: Whether the networks are run on the probes.
        paired: Whether there are two views of them.
        factor: How many times as wide the first view is.
        damaged: Whether they lack some of their hidden units.
    """

    parts: Sequence[Part]
    run: bool
    paired: bool
    factor: int = 1
    damaged: bool = False


@dataclass(frozen=True, eq=False)
class Seen:
    """Networks as they are learned from.

    Args:
        plain: Their weights without noise, `(models, *shape)` by tensor.
        vector: `(models, latent)`.
        answers: To the real inputs of each part; None where there are none.
        wanted: What is true of them, `(models,)` by property; NaN where it is not known.
    """

    plain: Mapping[str, Tensor]
    vector: Tensor
    answers: Sequence[Tensor | None]
    wanted: Mapping[str, Tensor]


class EncoderObjective(nn.Module):
    """An encoder with its read-outs; calling it gives the losses by name.

    Numbers are learned in units of their deviation within the population. Behaviour is the logits on real inputs,
    centred over the classes and divided by their deviation, network by network. The two views of a network differ by
    noise, the first may be wider; the second is never run and lacks one block, whose statistics it is asked for.

    Args:
        config: Sizes and weights of the losses.
        corpus: What is trained on.
    """

    def __init__(self, config: TrainConfig, corpus: Corpus) -> None:
        super().__init__()
        generator = Generator().manual_seed(config.seed)
        self.config, self.real = config, RealAnswers(corpus.inputs, corpus.labels)
        self.spreads = corpus.spreads()
        self.encoder = SweepNetwork(config.sizes, generator=generator)
        self.predictor = Predictor(config.sizes, corpus.classes, corpus.scales(), generator=generator)
        first = torch.zeros(1, dtype=torch.long)
        answers = [(g.dataset, self.real.of_weights(g, g.pick(first))) for g in corpus.groups["train"]]
        widths = {dataset: told.numel() for dataset, told in answers if told is not None}
        self.behaviour = BehaviourHead(config.sizes.latent - config.sizes.fixed, widths, generator=generator)
        self.masked = MaskedHead(config.sizes, generator=generator)

    def encode(
        self,
        parts: Sequence[Part],
        weights: Mapping[str, Tensor],
        *,
        told: Tensor | None = None,
        wider: tuple[int, Generator] | None = None,
    ) -> Encoding:
        """Return what is said of networks of one plan.

        Args:
            parts: The groups that they are of.
            weights: Theirs, one part after the other.
            told: What they answer to the probes, see `ask`; None for networks that are not run.
            wider: A factor by which they are widened first, and what draws the shares of the copies.
        """
        plan = parts[0][0].plan
        if wider is not None:  # they answer what they answered
            plan, widening = parts[0][0].wider[wider[0]]
            weights = widening(weights, wider[1])
        found = self.encoder(plan, weights, told)
        assert isinstance(found, Encoding)
        return found

    def ask(
        self, parts: Sequence[Part], weights: Mapping[str, Tensor], generator: Generator | None = None
    ) -> Tensor | None:
        """Return what networks answer to the probes; None where probes do not fit.

        Args:
            parts: The groups that they are of.
            weights: Theirs, one part after the other.
            generator: Moves probes that are places, for training; None leaves them.
        """
        if not self.config.sizes.probes or parts[0][0].shape is None:
            return None
        told = []
        for (group, _), own in zip(parts, _of_parts(weights, parts), strict=True):
            assert group.shape is not None
            probes = self.encoder.probes(group.shape)
            probes = probes if generator is None else moved(probes, self.config.moved, generator)
            told.append(run_networks(group.module, own, probes))
        return torch.cat(told)

    def see(self, batch: Batch, generator: Generator) -> Seen:
        """Return networks as they are learned from: some shuffled or damaged, their weights with noise."""
        config, parts = self.config, batch.parts
        plain, learned = stacked(parts), _learned(parts)
        picked, where = _some_of_each(parts, config.shuffled, generator)
        plain = with_shuffled(plain, learned, where, generator)
        if batch.damaged:
            plain = with_damage(parts[0][0].gates, plain, generator)
            picked = [torch.arange(len(places), device=places.device) for _, places in parts]
        told = self.ask(parts, plain, generator) if batch.run else None  # with noise they would answer otherwise
        noisy = with_noise(plain, learned, config.noise, generator)
        wider = None if batch.factor == 1 else (batch.factor, generator)
        vector, answers = self.encode(parts, noisy, told=told, wider=wider).vector, self._answers(parts, plain, picked)
        wanted = self._measured(parts, answers) if batch.damaged else _told_shuffled(self.recorded(parts), where)
        return Seen(plain, vector, answers, wanted)

    def forward(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Return the losses of a batch by name, weighted."""
        config, parts, seen = self.config, batch.parts, self.see(batch, generator)
        losses = self.property_losses(parts, dropped(seen.vector, config.drop, generator), seen.wanted)
        if config.behaviour and (told := self._behaviour(parts, seen.answers, seen.vector)):
            losses["behaviour"] = config.behaviour * torch.stack(told).mean()
        if config.views and batch.paired and not batch.damaged:
            plan, noisy = parts[0][0].plan, with_noise(seen.plain, _learned(parts), config.noise, generator)
            number = int(torch.randint(len(plan.edges), (), generator=generator, device=generator.device))
            other = self.encode(parts, blanked(noisy, plan.edges[number].tensor))
            losses["views"] = config.views * contrast(*(self._of_weights(x) for x in (seen.vector, other.vector)))
            losses["masked"] = config.views * self.masked(other, plan, number, seen.plain)
        return losses

    def _of_weights(self, vector: Tensor) -> Tensor:
        """Learned numbers of vectors that tell of the weights."""
        sizes = self.config.sizes
        return learned_numbers(vector[:, : sizes.latent - sizes.answers], sizes.fixed)

    def recorded(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        """Return what is recorded of networks, `(models,)` by property; NaN where nothing is."""
        return {
            name: torch.cat([group.target(name)[places] for group, places in parts]) for name in self.predictor.names
        }

    def _answers(
        self, parts: Sequence[Part], weights: Mapping[str, Tensor], changed: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """What the networks of each part answer to its real inputs; None where there are none.

        Args:
            parts: The groups that they are of.
            weights: Theirs, one part after the other.
            changed: Which of each part are not as they are in their group.
        """
        found = []
        for (group, places), own, here in zip(parts, _of_parts(weights, parts), changed, strict=True):
            told = self.real.of_group(group, places)
            some = {name: tensor[here] for name, tensor in own.items()}
            anew = self.real.of_weights(group, some) if len(here) else None
            found.append(told if told is None or anew is None else told.index_copy(0, here, anew))
        return found

    def _measured(self, parts: Sequence[Part], answers: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """The accuracy of networks on the real inputs; NaN where there are none, and for every other property."""
        each = [self.real.accuracy(group, told) for (group, _), told in zip(parts, answers, strict=True)]
        unknown = [torch.full(places.shape, torch.nan, device=places.device) for _, places in parts]
        accuracy = torch.cat([u if a is None else a for a, u in zip(each, unknown, strict=True)])
        return {name: accuracy if name == "test_accuracy" else torch.cat(unknown) for name in self.predictor.names}

    def property_losses(self, parts: Sequence[Part], vector: Tensor, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each property that the networks have, by name.

        Args:
            parts: The groups that they are of.
            vector: Theirs.
            wanted: What is true of them, see `recorded`.
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
        mean, spread = torch.tensor([self.predictor.scales[name] for name, _, _ in asked]).T[:, :, None].to(asked[0][1])
        told, wanted = torch.stack([t[..., 0] for _, t, _ in asked], 1), torch.stack([w for _, _, w in asked])
        apart = (told * spread + mean - wanted.nan_to_num()) / self._units(parts, [name for name, _, _ in asked], told)
        return 2 * F.smooth_l1_loss(apart, torch.zeros_like(apart), reduction="none").mean(0)

    def _units(self, parts: Sequence[Part], names: Sequence[str], like: Tensor) -> Float[Tensor, "numbers models"]:
        """Deviation of each number within the population of each network."""
        units = [[self.spreads[group.population].get(name, 1.0) for group, _ in parts] for name in names]
        counts = torch.tensor([len(places) for _, places in parts])
        return torch.tensor(units).repeat_interleave(counts, 1).to(like)

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


def stacked(parts: Sequence[Part]) -> dict[str, Tensor]:
    """Return the weights of all parts in single precision, one part after the other."""
    own = [group.pick(places) for group, places in parts]
    return {name: torch.cat([each[name] for each in own]) for name in own[0]}


def _of_parts(weights: Mapping[str, Tensor], parts: Sequence[Part]) -> list[dict[str, Tensor]]:
    counts = [len(places) for _, places in parts]
    split = {name: tensor.split(counts) for name, tensor in weights.items()}
    return [{name: tensors[i] for name, tensors in split.items()} for i in range(len(counts))]


def _some_of_each(parts: Sequence[Part], share: float, generator: Generator) -> tuple[list[Tensor], Tensor]:
    """Draw a share of each part's networks: which, and the same as a mask over the networks of all parts."""
    device, counts = generator.device, [len(places) for _, places in parts]
    orders = [torch.rand(count, generator=generator, device=device).argsort() for count in counts]
    picked = [order[: round(share * len(order))] for order in orders]
    masks = [
        torch.zeros(len(o), dtype=torch.bool, device=device).index_fill(0, p, True)
        for o, p in zip(orders, picked, strict=True)
    ]
    return picked, torch.cat(masks)


def _class_losses(told: Float[Tensor, "estimates models names"], wanted: Tensor) -> Float[Tensor, " models"]:
    truth = wanted.nan_to_num().long().expand(len(told), -1)
    return F.cross_entropy(told.flatten(0, 1), truth.flatten(), reduction="none").view(truth.shape).mean(0) / 2


def _mean_known(each: Float[Tensor, " models"], wanted: Tensor) -> Tensor:
    known = wanted.isfinite()
    return (each * known).sum() / known.sum().clamp_min(1)


def _told_shuffled(wanted: Mapping[str, Tensor], shuffled: Tensor) -> dict[str, Tensor]:
    """What is true of networks some of which had their entries shuffled: that they are, and nothing else is known."""
    return {name: truth.where(~shuffled, SHUFFLED if name == "wiring" else torch.nan) for name, truth in wanted.items()}


def _learned(parts: Sequence[Part]) -> list[str]:
    """Tensors that are learned; noise could make a variance negative."""
    return [name for name, _ in parts[0][0].module.named_parameters()]
