"""Which units, blocks and stages of a network carry what its latent tells, or the difference to another network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.errors import EncoderError, GraphError
from weightspace.graph.layout import Side
from weightspace.graph.symmetry.align import align
from weightspace.graph.symmetry.gates import Gates
from weightspace.inspect.diff import check_comparable
from weightspace.inspect.question import Asker, Question, ask_distance

Method = Literal["integrated", "gradient", "leave-one-out"]
REMOVED, DRAWS, SHUFFLES, STEPS, SEED = 0.2, 128, 4, 32, 0
"""Share of units that a path takes away, paths, shuffles of each block, steps between two networks, and the seed."""


@dataclass(frozen=True)
class UnitPart:
    """What one unit carries.

    Args:
        axis: It belongs to.
        unit: Which one it is, counted over the whole network, parents major.
        part: In the unit of the question.
    """

    axis: str
    unit: int
    part: float


@dataclass(frozen=True, eq=False)
class Attribution:
    """What is told of a network, put down to its parts.

    Args:
        source: The network.
        other: The one that it is compared with; None if it stands alone.
        question: What is told.
        method: Of `units`.
        value: What is told of the network.
        reference: What is told of the other network; None if there is none.
        units: Hidden units with weights that lead on. Alone: how much lower the value is without the unit. Of a
            difference: what the change of its incoming weights adds to `value - reference`.
        blocks: Weight tensors. Alone: how much lower the value is, on average, with the tensor's numbers shuffled. Of
            a difference: what its change adds; over all blocks that is the whole difference.
        stages: The same of the blocks that act together.
    """

    source: str
    other: str | None
    question: str
    method: str
    value: float
    reference: float | None
    units: tuple[UnitPart, ...]
    blocks: Mapping[str, float]
    stages: Mapping[str, float]

    @property
    def ranked(self) -> tuple[UnitPart, ...]:
        """Units, those that carry most first."""
        return tuple(sorted(self.units, key=lambda unit: -unit.part))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        return {
            **{n: getattr(self, n) for n in ("source", "other", "question", "method", "value", "reference")},
            "units": [asdict(unit) for unit in self.ranked],
            "blocks": dict(self.blocks),
            "stages": dict(self.stages),
        }


def attribute(
    encoder: Encoder, checkpoint: Checkpoint, question: Question, *, method: Method = "integrated"
) -> Attribution:
    """Put what is told of a network down to its hidden units, blocks and stages.

    A gate stands before each unit's outgoing weights; at 0 the unit is gone. `gradient` is the slope in each gate
    where all are 1. `integrated` is the slope on the ways from the network to versions of it without a fifth of its
    units, drawn anew for each way, averaged over the ways that take the unit away. `leave-one-out` removes one unit
    after the other: the yardstick of the other two, and the dearest.

    Args:
        encoder: Gives the latents.
        checkpoint: The network.
        question: What is told; see `weightspace.inspect.question`.
        method: Of the units. Blocks and stages are always measured by shuffling.

    Raises:
        GraphError: No hidden unit has weights of its own that lead on.
        ArchitectureError: Some weights are not finite.
        EncoderError: Slopes are not finite.

    Source:
        Sundararajan et al. (2017), "Axiomatic attribution for deep networks"; Erion et al. (2021), "Improving
        performance of deep learning models with axiomatic attribution priors and expected gradients", for the drawn
        ends: an encoder that divides by the size of each block sees little of a way on which all units fade at once.
        Breiman (2001), "Random forests", section 10, for shuffling.
    """
    asker = Asker(encoder, checkpoint, question)
    gates = _gates(asker, checkpoint)
    parts = _METHODS[method](asker, gates)
    if not parts.isfinite().all():
        raise EncoderError(
            f"{checkpoint.source}: {int((~parts.isfinite()).sum())} of {len(parts)} slopes are not finite, as where "
            "all numbers of a tensor are zero. Use the method 'leave-one-out'."
        )
    with torch.no_grad():
        value = float(asker(asker.alone))
        groups = _groups(asker)
        kept = {name: _shuffled(asker, tensors) for name, tensors in groups.items()}
    blocks = {edge.tensor: value - kept[edge.tensor] for edge in asker.plan.edges}
    stages = {stage.name: value - kept[f"stage {stage.name}"] for stage in asker.plan.stages}
    return Attribution(
        checkpoint.source, None, question.text, method, value, None, _unit_parts(gates, parts), blocks, stages
    )


def attribute_difference(
    encoder: Encoder, a: Checkpoint, b: Checkpoint, question: Question | None = None
) -> Attribution:
    """Put the difference between two networks of one architecture down to the weights that changed.

    Units of `a` are matched to those of `b` first. Integrated gradients along the straight line between the weights:
    the parts of all blocks add up to what is told of `b` less what is told of `a`, up to the steps of the integral.

    Args:
        encoder: Gives the latents.
        a: The one before.
        b: The one after.
        question: What is told; how far the learned numbers of the latent (all, where none are fixed) have
            moved from `a` towards `b` if None.

    Raises:
        ArchitectureError: Names or shapes differ, or a number is not finite.
        EncoderError: There is no difference.
    """
    check_comparable(a, b)
    matched = align(a, b, encoder.architectures.of(b).graph)
    plain = Asker(encoder, b, None)
    start, end = plain.weights_of(matched), plain.weights
    if question is None:
        with torch.no_grad():
            before, after = (plain.vectors({n: t[None] for n, t in w.items()})[0] for w in (start, end))
        question = ask_distance(before, after, fixed=encoder.network.config.fixed)
    asker = Asker(encoder, b, question)
    parts, told = _along(asker, start, end)
    gates = Gates.of(asker.graph, Side.WRITTEN)
    blocks = {name: float(part.sum()) for name, part in parts.items()}
    stages = {stage.name: sum(blocks.get(edge.tensor, 0.0) for edge in stage.edges) for stage in asker.plan.stages}
    units = _unit_parts(gates, gates.collect(parts))
    return Attribution(b.source, a.source, question.text, "integrated", told[1], told[0], units, blocks, stages)


def remove_units(asker: Asker, gates: Gates, removed: Float[Tensor, "models units"]) -> Float[Tensor, " models"]:
    """Return what is told of a network without the units that are 1 in each row."""
    with torch.no_grad():
        rows = removed.to(asker.dtype).split(asker.together)
        return torch.cat([asker(gates.apply(asker.alone, 1 - row)) for row in rows])


def _gates(asker: Asker, checkpoint: Checkpoint) -> Gates:
    gates = Gates.of(asker.graph, Side.READ)
    if not gates.units:
        raise GraphError(f"{checkpoint.source}: no hidden unit has weights that lead on, so none can be taken out.")
    return gates


def _slopes(asker: Asker, gates: Gates, values: Float[Tensor, "models units"]) -> Float[Tensor, "models units"]:
    """Slopes of what is told in the gates of each version."""
    found = []
    for rows in values.split(asker.together):
        rows = rows.clone().requires_grad_(True)
        found.append(torch.autograd.grad(asker(gates.apply(asker.alone, rows)).sum(), rows)[0])
    return torch.cat(found)


def _gradient(asker: Asker, gates: Gates) -> Tensor:
    return _slopes(asker, gates, torch.ones(1, len(gates.units), dtype=asker.dtype))[0]


def _integrated(asker: Asker, gates: Gates) -> Tensor:
    """Each unit is away in the same number of draws; the places on the ways are spread evenly."""
    generator, units = Generator().manual_seed(SEED), len(gates.units)
    order = torch.rand(DRAWS, units, generator=generator).argsort(0)
    removed = (order < round(REMOVED * DRAWS)).to(asker.dtype)
    places = (torch.arange(DRAWS, dtype=asker.dtype)[:, None] + 0.5) / DRAWS
    return (_slopes(asker, gates, 1 - places * removed) * removed).sum(0) / removed.sum(0)


def _left_out(asker: Asker, gates: Gates) -> Tensor:
    units = len(gates.units)
    told = remove_units(asker, gates, torch.cat([torch.zeros(1, units), torch.eye(units)]))
    return told[0] - told[1:]


_METHODS: Mapping[str, Callable[[Asker, Gates], Tensor]] = {
    "integrated": _integrated,
    "gradient": _gradient,
    "leave-one-out": _left_out,
}


def _groups(asker: Asker) -> dict[str, list[str]]:
    """Tensors to shuffle together: each alone, and those of each stage."""
    alone = {edge.tensor: [edge.tensor] for edge in asker.plan.edges}
    return alone | {f"stage {stage.name}": [edge.tensor for edge in stage.edges] for stage in asker.plan.stages}


def _shuffled(asker: Asker, tensors: list[str]) -> float:
    """Mean of what is told with the numbers of some tensors shuffled, each within itself."""
    generator, told = Generator().manual_seed(SEED), []
    for _ in range(SHUFFLES):
        versions = asker.alone
        for name in tensors:
            order = torch.randperm(versions[name].numel(), generator=generator)
            versions[name] = versions[name].flatten()[order].reshape(versions[name].shape)
        told.append(asker(versions))
    return float(torch.cat(told).mean())


def _along(
    asker: Asker, start: Mapping[str, Tensor], end: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[float, float]]:
    """What each weight adds on the way from `start` to `end`, and what is told of the two."""
    real = [edge.tensor for edge in asker.plan.edges if end[edge.tensor].is_floating_point()]
    ways = {name: end[name] - start[name] for name in real}
    parts = {name: torch.zeros_like(way) for name, way in ways.items()}
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        here = {name: (start[name] + share * way).requires_grad_(True) for name, way in ways.items()}
        told = asker({name: tensor[None] for name, tensor in {**end, **here}.items()}).sum()
        slopes = torch.autograd.grad(told, list(here.values()), materialize_grads=True)
        for (name, way), slope in zip(ways.items(), slopes, strict=True):
            parts[name] += slope * way / STEPS
    with torch.no_grad():
        first, last = (float(asker({n: t[None] for n, t in w.items()})) for w in (start, end))
    return parts, (first, last)


def _unit_parts(gates: Gates, parts: Tensor) -> tuple[UnitPart, ...]:
    return tuple(UnitPart(axis, unit, part) for (axis, unit), part in zip(gates.units, parts.tolist(), strict=True))
