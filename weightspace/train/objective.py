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
from weightspace.graph.symmetry.gates import Gates
from weightspace.train.behaviour import BehaviourHead
from weightspace.train.config import TrainConfig
from weightspace.train.data import Corpus, Group
from weightspace.train.masked import MaskedHead, blanked

TEMPERATURE = 0.1
SHUFFLED = float(WIRINGS.index("shuffled"))
MOST_DAMAGED = 0.3
"""Share of hidden units that a damaged network lacks at most."""


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
        self.config, self.inputs, self.labels = config, dict(corpus.inputs), dict(corpus.labels)
        self.spreads = corpus.spreads()
        self.encoder = SweepNetwork(config.sizes, generator=generator)
        self.predictor = Predictor(config.sizes, corpus.classes, corpus.scales(), generator=generator)
        widths = {
            g.dataset: len(inputs) * _outputs(g, inputs)
            for g in corpus.groups["train"]
            if (inputs := self.shown(g)) is not None
        }
        self.behaviour = BehaviourHead(config.sizes.latent - config.sizes.fixed, widths, generator=generator)
        self.masked = MaskedHead(config.sizes, generator=generator)

    def encode(
        self,
        parts: Sequence[Part],
        weights: Mapping[str, Tensor],
        *,
        run: bool,
        wider: tuple[int, Generator] | None = None,
    ) -> Encoding:
        """Return what is said of networks of one plan.

        Args:
            parts: The groups that they are of.
            weights: Theirs, one part after the other.
            run: Whether they are run on the probes.
            wider: A factor by which they are widened first, and what draws the shares of the copies.
        """
        group, answers = parts[0][0], None
        plan = group.plan
        if run and self.config.sizes.probes and group.shape is not None:
            told = [
                run_networks(each.module, own, self.encoder.probes(shape))
                for (each, _), own in zip(parts, _of_parts(weights, parts), strict=True)
                if (shape := each.shape) is not None
            ]
            answers = torch.cat(told)
        if wider is not None:  # they answer what they answered
            plan, widening = group.wider[wider[0]]
            weights = widening(weights, wider[1])
        found = self.encoder(plan, weights, answers)
        assert isinstance(found, Encoding)
        return found

    def forward(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Return the losses of a batch by name, weighted."""
        config, parts = self.config, batch.parts
        plain = stacked(parts)
        learned = [name for name, _ in parts[0][0].module.named_parameters()]  # noise could make a variance negative
        where = torch.rand(len(plain[learned[0]]), generator=generator, device=generator.device) < config.shuffled
        plain = _with_shuffled(plain, learned, where, generator)
        weights = _with_noise(plain, learned, config.noise, generator)
        if batch.damaged:
            weights = _with_damage(parts[0][0].gates, weights, generator)
        wider = None if batch.factor == 1 else (batch.factor, generator)
        vector = self.encode(parts, weights, run=batch.run, wider=wider).vector
        answers = self._answers(parts, weights)
        wanted = self._measured(parts, answers) if batch.damaged else _told_shuffled(self.recorded(parts), where)
        losses = self.property_losses(parts, _drop(vector, config.drop, generator), wanted)
        if config.behaviour and (told := self._behaviour(parts, answers, vector)):
            losses["behaviour"] = config.behaviour * torch.stack(told).mean()
        if config.views and batch.paired and not batch.damaged:
            noisy, plan = _with_noise(plain, learned, config.noise, generator), parts[0][0].plan
            number = int(torch.randint(len(plan.edges), (), generator=generator, device=generator.device))
            other = self.encode(parts, blanked(noisy, plan.edges[number].tensor), run=False)
            losses["views"] = config.views * contrast(*(self._of_weights(x) for x in (vector, other.vector)))
            losses["masked"] = config.views * self.masked(other, plan, number, plain)
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

    @torch.no_grad()
    def _answers(self, parts: Sequence[Part], weights: Mapping[str, Tensor]) -> list[Tensor | None]:
        """What the networks of each part answer to its real inputs; None where there are none."""
        shown = [(g, own, self.shown(g)) for (g, _), own in zip(parts, _of_parts(weights, parts), strict=True)]
        return [None if x is None else run_networks(group.module, own, x) for group, own, x in shown]

    def _measured(self, parts: Sequence[Part], answers: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """The accuracy of networks on the real inputs; NaN where there are none, and for every other property."""
        found = []
        for (group, places), told in zip(parts, answers, strict=True):
            labels = self.labels.get(group.dataset)
            if told is None or labels is None:
                found.append(torch.full(places.shape, torch.nan, device=places.device))
            else:
                found.append((told.argmax(2) == labels).float().mean(1))
        unknown = torch.full_like(accuracy := torch.cat(found), torch.nan)
        return {name: accuracy if name == "test_accuracy" else unknown for name in self.predictor.names}

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

    def shown(self, group: Group) -> Tensor | None:
        """Return the real inputs on which answers of a group are predicted; None where its networks take others."""
        inputs = self.inputs.get(group.dataset)
        return inputs if inputs is not None and tuple(inputs.shape[1:]) == group.shape else None

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


def single(tensor: Tensor) -> Tensor:
    """Floats in single precision, whole numbers as they are."""
    return tensor.float() if tensor.is_floating_point() else tensor


def stacked(parts: Sequence[Part]) -> dict[str, Tensor]:
    """Return the weights of all parts in single precision, one part after the other."""
    names = parts[0][0].weights
    return {name: torch.cat([single(group.weights[name][places]) for group, places in parts]) for name in names}


def _of_parts(weights: Mapping[str, Tensor], parts: Sequence[Part]) -> list[dict[str, Tensor]]:
    counts = [len(places) for _, places in parts]
    split = {name: tensor.split(counts) for name, tensor in weights.items()}
    return [{name: tensors[i] for name, tensors in split.items()} for i in range(len(counts))]


def _class_losses(told: Float[Tensor, "estimates models names"], wanted: Tensor) -> Float[Tensor, " models"]:
    truth = wanted.nan_to_num().long().expand(len(told), -1)
    return F.cross_entropy(told.flatten(0, 1), truth.flatten(), reduction="none").view(truth.shape).mean(0) / 2


def _mean_known(each: Float[Tensor, " models"], wanted: Tensor) -> Tensor:
    known = wanted.isfinite()
    return (each * known).sum() / known.sum().clamp_min(1)


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


def _with_shuffled(
    weights: Mapping[str, Tensor], names: Sequence[str], where: Tensor, generator: Generator
) -> dict[str, Tensor]:
    """Weights with the entries of each tensor in random order in some of the networks."""
    found = dict(weights)
    for name in names:
        flat = weights[name].flatten(1)
        order = torch.rand(flat.shape, generator=generator, device=generator.device).argsort(1)
        found[name] = torch.where(where[:, None], flat.gather(1, order), flat).view_as(weights[name])
    return found


def _with_damage(gates: Gates, weights: Mapping[str, Tensor], generator: Generator) -> dict[str, Tensor]:
    """Weights without some hidden units, another share of them for each network."""
    models = len(next(iter(weights.values())))
    share = MOST_DAMAGED * torch.rand(models, 1, generator=generator, device=generator.device)
    kept = torch.rand(models, len(gates.units), generator=generator, device=generator.device) >= share
    return gates.apply(weights, kept.float())


def _told_shuffled(wanted: Mapping[str, Tensor], shuffled: Tensor) -> dict[str, Tensor]:
    """What is true of networks some of which had their entries shuffled: that they are, and nothing else is known."""
    return {name: truth.where(~shuffled, SHUFFLED if name == "wiring" else torch.nan) for name, truth in wanted.items()}


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
