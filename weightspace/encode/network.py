"""The sweep encoder: a forward and a backward pass of messages over a plan, and what is read off on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.encode.plan import SIZES, Edge, Plan
from weightspace.encode.states import ROLES, AxisStates
from weightspace.encode.visit import About, Visit
from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.names import WordTable
from weightspace.nn.probes import ProbeBank, ProbeReadout
from weightspace.nn.readout import Fingerprint, ReadOut, moments
from weightspace.nn.seeded import draw
from weightspace.nn.statistics import RELATIVE, STATISTICS, tensor_statistics
from weightspace.nn.tiles import as_matrix

TOGETHER = 1 << 16
EMPHASIS = {
    "sizes": 0.55,
    "blocks": 0.55,
    "fingerprint": 0.2,
    "stages": 0.17,
    "axes": 0.32,
    "order": 0.3,
    "answers": 0.3,
}
"""How much each part of the read-out counts before training: enough of the fingerprint to see every broken tie."""


@dataclass(frozen=True)
class SweepConfig:
    """Sizes of a sweep encoder.

    Args:
        width: Of a unit's state.
        pairs: Correlations read off each block.
        waves: Width of the fingerprint.
        features: Random features of each block's statistics.
        stage: Width of a stage's latent.
        latent: Width of the vector.
        words: Rows of the tables of layer kinds and operations.
        depths: Cosines over the depth at which stages are read in their order; 0 pools them only.
        probes: Learned inputs; 0 where a network is never run.
        hidden: Width of the layers between what is read off and the vector; 0 for a linear read-out.
    """

    width: int = 32
    pairs: int = 64
    waves: int = 256
    features: int = 96
    stage: int = 64
    latent: int = 256
    words: int = 64
    depths: int = 0
    probes: int = 0
    hidden: int = 0


@dataclass(frozen=True, eq=False)
class Encoding:
    """What a sweep encoder says of `models` checkpoints of one architecture.

    Args:
        vector: `(models, latent)`.
        units: Axis to `(models, units, width)`.
        stages: `(models, stages, width)`.
    """

    vector: Tensor
    units: dict[str, Tensor]
    stages: Tensor


@final
class SweepNetwork(nn.Module):
    """Weights to latents by two sweeps; equivariant in its unit states, invariant in its vector.

    For every legal relabelling `p` of a checkpoint `x`: `vector(p x) = vector(x)` and `units(p x) = p units(x)`. The
    order of units counts only on input and output axes, where it has a meaning.

    Args:
        config: Sizes.
        generator: Draws every parameter.
    """

    def __init__(self, config: SweepConfig, *, generator: Generator) -> None:
        super().__init__()
        self.config = config
        context = 2 * config.width
        self.kinds = WordTable(config.words, config.width, generator=generator)
        self.operations = WordTable(config.words, config.width, generator=generator)
        self.states = AxisStates(config.width, generator=generator)
        self.visits = nn.ModuleDict(
            {name: Visit(config.width, context, config.pairs, generator=generator) for name in ("ahead", "back")}
        )
        said = config.pairs + config.width
        if config.waves:
            self.fingerprint = Fingerprint(2 * said, config.waves, generator=generator)
        self.scale = draw(RELATIVE, config.width, generator=generator)
        self.shape = draw(STATISTICS + context, config.features, generator=generator)
        self.phase = draw(1, config.features, generator=generator, scale=3.0)
        self.stage = draw(config.features + 2 * said, config.stage, generator=generator)
        if config.probes:
            self.probes = ProbeBank(config.probes, generator=generator)
            self.answers = ProbeReadout(config.probes, config.width, config.features, generator=generator)
        emphasis = {name: (width, EMPHASIS[name]) for name, width in self._widths().items()}
        self.head = ReadOut(list(emphasis.values()), config.latent, config.hidden, generator=generator)

    def forward(self, plan: Plan, weights: Mapping[str, Tensor], answers: Tensor | None = None) -> Encoding:
        """Encode checkpoints of one architecture.

        Args:
            plan: The architecture's.
            weights: Tensor name to `(models, *stored shape)`, finite, of any float dtype; converted tile by tile.
            answers: What the networks answer to `probes`, `(models, probes, outputs)`; None where they are not run.
        """
        matrices = {e.tensor: as_matrix(weights[e.tensor], e.order, e.sizes) for e in plan.edges}
        contexts, scales, features = self._statistics(plan, matrices)
        models = len(next(iter(scales.values())))
        h = self.states.start(plan, models)
        if answers is not None:
            self._answer(plan, h, answers)
        heard: dict[str, list[Tensor]] = {edge.tensor: [] for edge in plan.edges}
        for direction in ("ahead", "back"):
            for edge in plan.edges if direction == "ahead" else reversed(plan.edges):
                name = edge.tensor
                known = matrices[name], scales[name], contexts[name]
                heard[name].append(self._hear(h, plan, edge, known, direction))
        said = {name: torch.cat(both, 1) for name, both in heard.items()}
        stages, together = self._stages(plan, features, said)
        parts = self._parts(plan, h, (features, together, stages))
        if self.config.probes:
            parts.append(self.answers.absent.expand(models, -1) if answers is None else self.answers(answers))
        return Encoding(self.head(parts), h, stages)

    def _answer(self, plan: Plan, h: dict[str, Tensor], answers: Tensor) -> None:
        """Let output units know what they answer."""
        for name, axis in plan.axes.items():
            if axis.role == "output" and plan.counts[name] == answers.shape[2]:
                h[name] = h[name] + self.answers.states(answers)

    def _hear(self, h: dict, plan: Plan, edge: Edge, known: tuple[Tensor, Tensor, Tensor], direction: str) -> Tensor:
        """Visit one block, updating `h`; what a block without units says is nothing."""
        matrix, rms, context = known
        if edge.target is None and edge.source is None:
            return context.new_zeros(len(context), self.config.pairs + self.config.width)
        _, far = edge.ends(direction)
        about = About(rms, context, self.states.above(h, plan, far))
        heard = self.visits[direction](h, edge, matrix, about=about, direction=direction)
        self.states.share(h, plan, far)
        return heard

    def _statistics(self, plan: Plan, matrices: dict[str, Tensor]) -> tuple[dict, dict, dict]:
        found = _statistics_of(plan, matrices, self.scale.dtype)
        contexts, features = {}, {}
        for stage in plan.stages:
            ops = self.operations(stage.ops)
            for edge in stage.edges:
                known, rms = found[edge.tensor]
                context = torch.cat(
                    [known[:, :RELATIVE] @ self.scale + self.kinds((edge.kind,)), ops.expand(len(rms), -1)], 1
                )
                contexts[edge.tensor] = context
                features[edge.tensor] = (torch.cat([known, context], 1) @ self.shape + self.phase).sin()
        return contexts, {name: rms for name, (_, rms) in found.items()}, features

    def _stages(self, plan: Plan, features: dict, said: dict) -> tuple[Tensor, Tensor]:
        """Latents of the stages, and what their blocks said together, both `(models, stages, width)`."""
        means, sums = [], []
        for stage in plan.stages:
            names = [edge.tensor for edge in stage.edges]
            known, heard = (torch.stack([found[name] for name in names]) for found in (features, said))
            means.append(torch.cat([known.mean(0), heard.mean(0)], 1))
            sums.append(heard.sum(0) / math.sqrt(len(names)))
        return torch.stack(means, 1) @ self.stage, torch.stack(sums, 1)

    def _parts(self, plan: Plan, h: dict, read: tuple[dict, Tensor, Tensor]) -> list[Tensor]:
        """What the vector is made of, in the order of `EMPHASIS`."""
        features, heard, stages = read
        blocks = moments(torch.stack([features[edge.tensor] for edge in plan.edges], 1))
        sizes = stages.new_tensor(plan.sizes).expand(len(stages), -1)
        parts = [sizes, blocks, moments(stages), self.states.pooled(plan, h, len(stages))]
        if self.config.waves:
            parts.insert(2, self.fingerprint(heard))
        if self.config.depths:
            order = on(depth_cosines(stages.shape[1], self.config.depths), stages)
            parts.append(torch.einsum("msw,sd->mdw", silu(stages), order).flatten(1) / stages.shape[1])
        return parts

    def _widths(self) -> dict[str, int]:
        """Width of each part of the read-out."""
        c = self.config
        widths = {"sizes": SIZES, "blocks": 2 * c.features, "fingerprint": c.waves, "stages": 2 * c.stage}
        widths |= {
            "axes": 2 * len(ROLES) * c.width,
            "order": c.depths * c.stage,
            "answers": c.features * bool(c.probes),
        }
        return {name: width for name, width in widths.items() if width}


def _statistics_of(plan: Plan, matrices: dict[str, Tensor], dtype: torch.dtype) -> dict[str, tuple[Tensor, Tensor]]:
    """Statistics and root mean square of every tensor; small ones of one shape are taken together."""
    alike: dict[tuple[object, ...], list[Edge]] = {}
    for edge in plan.edges:
        matrix = matrices[edge.tensor]
        alone = matrix.numel() > TOGETHER or edge.split is not None
        alike.setdefault((edge.tensor,) if alone else (edge.sizes, matrix.dtype), []).append(edge)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for edges in alike.values():
        names = [edge.tensor for edge in edges]
        stacked = matrices[names[0]] if len(names) == 1 else torch.cat([matrices[n] for n in names])
        known, rms = tensor_statistics(stacked, dtype, edges[0].split)
        models = len(matrices[names[0]])
        found |= dict(zip(names, zip(known.split(models), rms.split(models), strict=True), strict=True))
    return found
