"""The read-outs of a trained encoder, learned once more while its vectors stay."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from weightspace.train.config import TrainConfig
from weightspace.train.data import Group, draw_shares
from weightspace.train.objective import EncoderObjective
from weightspace.train.predict import MAIN, main_loss, read_vectors
from weightspace.train.shown import Batch
from weightspace.train.views import draw_kept

MOST, CHECKS, TOGETHER, GROUPS, RATE = 2000, 10, 512, 8, 1e-3
"""Updates at most, how often the validation part is looked at, networks of a group at a time, groups of an update."""


@dataclass(frozen=True, eq=False)
class Read:
    """Vectors of a group, in several views.

    Args:
        group: Of them.
        vector: `(views * models, latent)`.
        wanted: What is true of them, by property; NaN where it is not known.
    """

    group: Group
    vector: Tensor
    wanted: Mapping[str, Tensor]


def settle_heads(objective: EncoderObjective, parts: Mapping[str, Sequence[Group]], generator: Generator) -> None:
    """Fit the read-outs of properties to vectors that no longer change; keep those that read validation runs best.

    While an encoder learns, its read-outs run after vectors that move; a linear probe of the finished ones is better
    than they are. Those from before are kept if none of these are better.

    Args:
        objective: A trained one; its encoder stays as it is.
        parts: Groups of `train` and of `validation`.
        generator: Draws views and batches, on the device of the groups.
    """
    heads = objective.predictor.heads
    optimizer = torch.optim.AdamW(heads.parameters(), lr=RATE, weight_decay=objective.config.weight_decay)
    reads = [_read(objective, group, generator) for group in parts["train"]]
    held_out = [_held_out(objective, group) for group in parts["validation"]]
    best, least = copy.deepcopy(heads.state_dict()), _judge(objective, held_out)
    shares = torch.tensor(draw_shares([[group] for group in parts["train"]]))
    steps = min(MOST, objective.config.steps)
    picks = torch.multinomial(shares, steps * GROUPS, replacement=True, generator=_host(generator))
    for step, picked in enumerate(picks.view(steps, GROUPS).tolist(), 1):
        for settings in optimizer.param_groups:
            settings["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        losses = objective.property_losses(*_some(objective, [reads[i] for i in picked], generator))
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        if step % max(1, steps // CHECKS) == 0 and (found := _judge(objective, held_out)) < least:
            best, least = copy.deepcopy(heads.state_dict()), found
    heads.load_state_dict(best)


def _some(
    objective: EncoderObjective, reads: Sequence[Read], generator: Generator
) -> tuple[list[tuple[Group, Tensor]], Tensor, dict[str, Tensor]]:
    """Networks of an update, as `property_losses` takes them."""
    device = generator.device
    places = [torch.randint(len(r.vector), (TOGETHER,), generator=generator, device=device) for r in reads]
    pairs = list(zip(reads, places, strict=True))
    vector = torch.cat([r.vector[p] for r, p in pairs])
    kept = draw_kept(vector.shape, objective.config.drop, generator)
    wanted = {name: torch.cat([r.wanted[name][p] for r, p in pairs]) for name in reads[0].wanted}
    return [(r.group, p) for r, p in pairs], vector if kept is None else vector * kept, wanted


@torch.no_grad()
def _read(objective: EncoderObjective, group: Group, generator: Generator) -> Read:
    """Vectors of a group in every kind of view that the encoder has learned from."""
    objective.eval()
    vectors, wanted = list[Tensor](), list[Mapping[str, Tensor]]()
    for batch in _views(group, objective.config, generator.device):
        shown = objective.show(batch, generator)
        vectors.append(objective.see(batch, shown))
        wanted.append(shown.wanted)
    names = objective.predictor.names
    return Read(group, torch.cat(vectors), {name: torch.cat([each[name] for each in wanted]) for name in names})


def _views(group: Group, config: TrainConfig, device: torch.device) -> Iterator[Batch]:
    kinds = [(1, False), (1, False)] + [(1, True)] * bool(config.damaged)
    kinds += [(factor, False) for factor in list(group.wider)[: bool(config.widened)]]
    for run in (True, False):
        for factor, damaged in kinds:
            for places in torch.arange(len(group), device=device).split(TOGETHER // factor):
                yield Batch([(group, places)], run, False, factor, damaged)


def _held_out(objective: EncoderObjective, group: Group) -> Read:
    """Vectors of a group as it is, run and not."""
    vector = torch.cat([read_vectors(objective, group, run=run) for run in (True, False)])
    return Read(group, vector, {name: group.target(name).repeat(2) for name in MAIN if name in group.targets})


@torch.no_grad()
def _judge(objective: EncoderObjective, reads: Sequence[Read]) -> float:
    """Mean loss of the main property over populations."""
    found: dict[str, list[float]] = {}
    for read in reads:
        parts = [(read.group, torch.arange(len(read.vector)))]
        loss = main_loss(objective, parts, read.vector, read.wanted)
        if loss is not None:
            found.setdefault(read.group.population, []).append(float(loss))
    means = [sum(losses) / len(losses) for losses in found.values()]
    return sum(means) / max(1, len(means))


def _host(generator: Generator) -> Generator:
    return Generator().manual_seed(generator.initial_seed())
