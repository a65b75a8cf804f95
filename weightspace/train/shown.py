"""What an update learns from: networks as they are shown, and what is true of them; no parameter has a part in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from weightspace.encode.properties import WIRINGS
from weightspace.train.behaviour import RealAnswers
from weightspace.train.config import TrainConfig
from weightspace.train.data import Group
from weightspace.train.masked import Asked, ask_block, blanked
from weightspace.train.views import draw_kept, draw_move, with_damage, with_noise, with_shuffled

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


class Shown(NamedTuple):
    """Networks as they are learned from.

    Args:
        plain: Their weights without noise, `(models, *shape)` by tensor: what they are run with.
        noisy: What is encoded: with noise, and wider in a batch of wider ones.
        moves: How the probes of each part are moved; None where they stay.
        kept: What the numbers of vectors are multiplied by, `(models, latent)`; None where all are kept.
        answers: To the real inputs of each part; None where there are none.
        wanted: What is true of them, `(models,)` by property; NaN where it is not known.
        other: A second view, that lacks a block, and what is asked of it; None where there is none.
    """

    plain: Mapping[str, Tensor]
    noisy: Mapping[str, Tensor]
    moves: Sequence[Tensor | None]
    kept: Tensor | None
    answers: Sequence[Tensor | None]
    wanted: Mapping[str, Tensor]
    other: tuple[Mapping[str, Tensor], Asked] | None


def spread_out(shown: object) -> list[Tensor]:
    """Return all tensors in what is made of named tuples, lists and mappings, in order."""
    if shown is None or isinstance(shown, Tensor):
        return [] if shown is None else [shown]
    assert isinstance(shown, Mapping | Sequence)
    return [tensor for part in (shown.values() if isinstance(shown, Mapping) else shown) for tensor in spread_out(part)]


def put_back(shown: Any, tensors: Iterator[Tensor]) -> Any:
    """Return the same with other tensors in their places, as `spread_out` gives them."""
    if shown is None or isinstance(shown, Tensor):
        return None if shown is None else next(tensors)
    if isinstance(shown, Mapping):
        return {name: put_back(part, tensors) for name, part in shown.items()}
    parts = [put_back(part, tensors) for part in shown]
    return type(shown)(*parts) if hasattr(shown, "_fields") else parts


class Showing:
    """Draws how networks are shown.

    Args:
        config: Of the training.
        real: What they answer to real inputs.
        names: Of the properties.
    """

    def __init__(self, config: TrainConfig, real: RealAnswers, names: Sequence[str]) -> None:
        self.config, self.real, self.names = config, real, names

    @torch.no_grad()
    def __call__(self, batch: Batch, generator: Generator) -> Shown:
        """Return networks as they are learned from: some shuffled or damaged, their weights with noise."""
        config, parts = self.config, batch.parts
        group, learned, plain = parts[0][0], _learned(parts), stacked(parts)
        picked, where = _some_of_each(parts, config.shuffled, generator)
        plain = with_shuffled(plain, learned, where, generator)
        if batch.damaged:
            plain = with_damage(group.gates, plain, generator)
            picked = [torch.arange(len(places), device=places.device) for _, places in parts]
        moves = [draw_move(g.shape, config.moved, generator) if batch.run and g.shape else None for g, _ in parts]
        noisy = with_noise(plain, learned, config.noise, generator)
        if batch.factor > 1:
            noisy = group.wider[batch.factor][1](noisy, generator)
        answers = self._answers(parts, plain, picked)
        wanted = self.measured(parts, answers) if batch.damaged else told_shuffled(self.recorded(parts), where)
        kept = draw_kept((len(where), config.sizes.latent), config.drop, generator)
        other = None
        if config.views and batch.paired and not batch.damaged:
            second = with_noise(plain, learned, config.noise, generator)
            number = int(torch.randint(len(group.plan.edges), (), generator=generator, device=generator.device))
            other = blanked(second, group.plan.edges[number].tensor), ask_block(group.plan, number, plain)
        return Shown(plain, noisy, moves, kept, answers, wanted, other)

    def recorded(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        """Return what is recorded of networks, `(models,)` by property; NaN where nothing is."""
        return {name: torch.cat([group.target(name)[places] for group, places in parts]) for name in self.names}

    def measured(self, parts: Sequence[Part], answers: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """The accuracy of networks on the real inputs; NaN where there are none, and for every other property."""
        each = [self.real.accuracy(group, told) for (group, _), told in zip(parts, answers, strict=True)]
        unknown = [torch.full(places.shape, torch.nan, device=places.device) for _, places in parts]
        accuracy = torch.cat([u if a is None else a for a, u in zip(each, unknown, strict=True)])
        return {name: accuracy if name == "test_accuracy" else torch.cat(unknown) for name in self.names}

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
        for (group, places), own, here in zip(parts, of_parts(weights, parts), changed, strict=True):
            told = self.real.of_group(group, places)
            some = {name: tensor[here] for name, tensor in own.items()}
            anew = self.real.of_weights(group, some) if len(here) else None
            found.append(told if told is None or anew is None else told.index_copy(0, here, anew))
        return found


def stacked(parts: Sequence[Part]) -> dict[str, Tensor]:
    """Return the weights of all parts in single precision, one part after the other."""
    own = [group.pick(places) for group, places in parts]
    return {name: torch.cat([each[name] for each in own]) for name in own[0]}


def of_parts(weights: Mapping[str, Tensor], parts: Sequence[Part]) -> list[dict[str, Tensor]]:
    """Return the weights of each part."""
    counts = [len(places) for _, places in parts]
    split = {name: tensor.split(counts) for name, tensor in weights.items()}
    return [{name: tensors[i] for name, tensors in split.items()} for i in range(len(counts))]


def told_shuffled(wanted: Mapping[str, Tensor], shuffled: Tensor) -> dict[str, Tensor]:
    """What is true of networks some of which had their entries shuffled: that they are, and nothing else is known."""
    return {name: truth.where(~shuffled, SHUFFLED if name == "wiring" else torch.nan) for name, truth in wanted.items()}


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


def _learned(parts: Sequence[Part]) -> list[str]:
    """Tensors that are learned; noise could make a variance negative."""
    return [name for name, _ in parts[0][0].module.named_parameters()]
