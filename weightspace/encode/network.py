"""The sweep encoder: a forward and a backward pass of messages over a plan, and what is read off on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.plan import Edge, Plan
from weightspace.encode.states import ROLES, AxisStates
from weightspace.encode.visit import About, Visit
from weightspace.nn.names import WordTable
from weightspace.nn.readout import Track, moments
from weightspace.nn.seeded import draw
from weightspace.nn.statistics import STATISTICS, tensor_statistics
from weightspace.nn.tiles import as_matrix
from weightspace.nn.units import root_mean_square


@dataclass(frozen=True)
class SweepConfig:
    """Sizes of a sweep encoder.

    Args:
        width: Of a unit's state.
        pairs: Correlations read off each block.
        track: Width of the state that runs along with a sweep.
        features: Random features of each block's statistics.
        stage: Width of a stage's latent.
        latent: Width of the vector.
        words: Rows of the tables of layer kinds and operations.
        wiring: Weight of what depends on the wiring beside what depends on the statistics, before training.
    """

    width: int = 32
    pairs: int = 64
    track: int = 128
    features: int = 96
    stage: int = 64
    latent: int = 256
    words: int = 64
    wiring: float = 1.0


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
        self.tracks = nn.ModuleDict(
            {name: Track(config.track, said, generator=generator) for name in ("ahead", "back")}
        )
        self.scale = draw(STATISTICS, config.width, generator=generator)
        self.shape = draw(STATISTICS + context, config.features, generator=generator)
        self.phase = draw(1, config.features, generator=generator, scale=3.0)
        self.stage = draw(config.features + 2 * said, config.stage, generator=generator)
        self.head = draw(self._read(), config.latent, generator=generator)

    def _read(self) -> int:
        c = self.config
        return 2 * c.features + 2 * c.track + 2 * c.stage + 2 * len(ROLES) * c.width

    def forward(self, plan: Plan, weights: Mapping[str, Tensor]) -> Encoding:
        """Encode checkpoints of one architecture.

        Args:
            plan: The architecture's.
            weights: Tensor name to `(models, *stored shape)`, finite, of any float dtype; converted tile by tile.
        """
        matrices = {e.tensor: as_matrix(weights[e.tensor], e.order, e.sizes) for e in plan.edges}
        contexts, scales, features = self._statistics(plan, matrices)
        models = len(next(iter(scales.values())))
        h = self.states.start(plan, models)
        said: dict[tuple[str, str], Tensor] = {}
        tracks = []
        for direction in ("ahead", "back"):
            g = self.head.new_zeros(models, self.config.track)
            for edge in plan.edges if direction == "ahead" else reversed(plan.edges):
                name = edge.tensor
                heard = self._hear(h, plan, edge, (matrices[name], scales[name], contexts[name]), direction)
                g, said[direction, name] = self.tracks[direction](g, heard), heard
            tracks.append(root_mean_square(g))
        stages = self._stages(plan, features, said)
        return Encoding(self._vector(plan, h, tracks, (features, stages)), h, stages)

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
        contexts, scales, features = {}, {}, {}
        for stage in plan.stages:
            ops = self.operations(stage.ops)
            for edge in stage.edges:
                found, rms = tensor_statistics(matrices[edge.tensor], self.head.dtype)
                context = torch.cat([found @ self.scale + self.kinds((edge.kind,)), ops.expand(len(rms), -1)], 1)
                contexts[edge.tensor], scales[edge.tensor] = context, rms
                features[edge.tensor] = (torch.cat([found, context], 1) @ self.shape + self.phase).sin()
        return contexts, scales, features

    def _stages(self, plan: Plan, features: dict, said: dict) -> Float[Tensor, "models stages width"]:
        def of(edge: Edge) -> Tensor:
            name = edge.tensor
            return torch.cat([features[name], said["ahead", name], said["back", name]], 1)

        means = [torch.stack([of(edge) for edge in stage.edges]).mean(0) for stage in plan.stages]
        return torch.stack(means, 1) @ self.stage

    def _vector(self, plan: Plan, h: dict, tracks: list, read: tuple[dict, Tensor]) -> Float[Tensor, "models latent"]:
        features, stages = read
        blocks = moments(torch.stack([features[edge.tensor] for edge in plan.edges], 1))
        axes = self.states.pooled(plan, h, len(stages))
        wiring = torch.cat([*tracks, moments(stages), axes], 1)
        return torch.cat([blocks, self.config.wiring * wiring], 1) @ self.head
