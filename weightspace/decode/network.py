"""A latent vector and a graph without weights in, the weights of a network out.

vector -> modulation; plan -> unit states (role, index, place in the depth) -> block by block W[o, it] = U(o) V(i, t)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2, prod
from typing import final

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import layer_norm, silu

from weightspace.decode.target import Target
from weightspace.encode.plan import Edge, PlanStage
from weightspace.encode.sides import SLOT_CHANNELS, Side
from weightspace.encode.states import ROLES, joined
from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines, tap_cosines
from weightspace.nn.names import WordTable
from weightspace.nn.seeded import draw

CODES, DEPTHS, SIZES, TAPS = 64, 8, 4, 12
"""Numbers that tell a unit's index, a stage's place, a block's sizes, a tap."""
MEASURED = {"running mean": 0.0, "running variance": 1.0}
"""Blocks that are measured on data, not decoded, and what they hold until then."""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder.

    Args:
        latent: Width of the vectors that are decoded.
        width: Of a unit's state.
        rank: Of every weight matrix, at most.
        layers: That a unit's state goes through.
        words: Rows of the tables of layer kinds and operations.
    """

    latent: int = 256
    width: int = 256
    rank: int = 64
    layers: int = 3
    words: int = 64


@final
class DecoderNetwork(nn.Module):
    """Emits every block of a target from one vector, as a product of what its two sides say.

    Args:
        config: Sizes.
        generator: Draws every parameter.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: DecoderConfig, *, generator: Generator) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.register_buffer("mean", torch.zeros(config.latent))
        self.register_buffer("spread", torch.ones(config.latent))
        self.roles = draw(len(ROLES), width, generator=generator, scale=1.0)
        self.codes = draw(CODES, width, generator=generator, scale=CODES**-0.5)
        self.depths = draw(2, DEPTHS, width, generator=generator, scale=0.5)
        self.kinds, self.operations = (WordTable(config.words, width, generator=generator) for _ in range(2))
        self.sizes = draw(SIZES, width, generator=generator, scale=0.1)
        self.vector = draw(config.latent, width, generator=generator, scale=1.0)
        self.shift = draw(config.layers, width, width, generator=generator)
        self.gain = draw(config.layers, width, width, generator=generator)
        self.first = draw(config.layers, width, width, generator=generator)
        self.second = draw(config.layers, width, width, generator=generator)
        self.sides = draw(3, width, width, generator=generator)
        self.about = draw(3, width, width, generator=generator)
        self.slots = draw(SLOT_CHANNELS, width, generator=generator, scale=0.5)
        self.taps = draw(TAPS, width, generator=generator, scale=0.5)
        self.rows = draw(width, config.rank, generator=generator)
        self.columns = draw(width, config.rank, generator=generator)
        self.own = draw(width, 1, generator=generator)
        self.level = draw(width, 1, generator=generator)

    def standardise(self, mean: Tensor, spread: Tensor) -> None:
        """Set what vectors are centred by and divided by, `(latent,)` each; numbers that hardly vary are left small."""
        self.mean.copy_(mean)
        self.spread.copy_(spread + 1e-3)

    def forward(self, vectors: Float[Tensor, "models latent"], target: Target) -> dict[str, Tensor]:
        """Return the weights of a network for each vector, `(models, *stored shape)` by tensor name."""
        z = ((vectors - self.mean) / self.spread) @ self.vector / self.config.latent**0.5
        states = self._states(z, target)
        found, count = {}, len(target.plan.stages)
        for number, stage in enumerate(target.plan.stages):
            about = self._about(z, stage, number / max(1, count - 1))
            for i, edge in enumerate(stage.edges):
                matrix = self._block(states, edge, about[:, i])
                found[edge.tensor] = target.stored(edge, matrix)
        return found

    def _states(self, z: Tensor, target: Target) -> dict[str, Tensor]:
        """States of all units, `(models, units, width)`."""
        states = {}
        for name, axis in target.plan.axes.items():
            code = 2 * on(depth_cosines(target.plan.counts[name], CODES), z) @ self.codes
            place = self._place(target.places[name], z)
            h = (0.5 * self.roles[ROLES.index(axis.role)] + code + 0.5 * place).expand(len(z), -1, -1)
            for shift, gain, first, second in zip(self.shift, self.gain, self.first, self.second, strict=True):
                inner = layer_norm(h, h.shape[2:]) @ first
                h = h + silu(inner * (1 + (z @ gain)[:, None]) + (z @ shift)[:, None]) @ second
            states[name] = layer_norm(h, h.shape[2:])
        return states

    def _place(self, place: float, like: Tensor) -> Float[Tensor, " width"]:
        """Code of a place in the depth, 0 to 1."""
        turns = torch.pi * place * torch.arange(DEPTHS, dtype=like.dtype, device=like.device)
        return turns.cos() @ self.depths[0] + turns.sin() @ self.depths[1]

    def _about(self, z: Tensor, stage: PlanStage, place: float) -> Float[Tensor, "models blocks width"]:
        """What is known of each block of a stage."""
        kinds = self.kinds(tuple((edge.kind,) for edge in stage.edges))
        sizes = [[log2(n) / 4 for n in (*edge.sizes, prod(edge.sizes))] for edge in stage.edges]
        said = kinds + self.operations((stage.ops,)) + z.new_tensor(sizes) @ self.sizes + self._place(place, z)
        return said + z[:, None]

    def _block(self, states: Mapping[str, Tensor], edge: Edge, about: Tensor) -> Tensor:
        """One block as `(models, outs, ins, taps)`."""
        if edge.kind in MEASURED:
            return about.new_full((len(about), *edge.sizes), MEASURED[edge.kind])
        level = (0.1 / about.shape[1] ** 0.5 * about @ self.level).exp()[:, :, None]
        if edge.target is None or edge.source is None:
            told = self._told(states, edge.target or edge.source, 2, about) + self._taps(edge, about)
            value = (edge.kind == "norm scale") + 0.1 * level[..., None] * (silu(told) @ self.own)
            return value.expand(-1, prod(edge.sizes) // value.shape[2], -1, -1).reshape(len(about), *edge.sizes)
        rows = _spread(silu(self._told(states, edge.target, 0, about)[:, :, 0]) @ self.rows)
        columns = silu(self._told(states, edge.source, 1, about) + self._taps(edge, about)) @ self.columns
        taps = columns.shape[2]
        columns = _spread(columns.flatten(1, 2)).unflatten(1, (-1, taps))
        scale = level[..., None] * (2 / (edge.sizes[1] * taps * self.config.rank)) ** 0.5
        return scale * _product(rows, columns, edge)

    def _told(self, states: Mapping[str, Tensor], side: Side | None, which: int, about: Tensor) -> Tensor:
        """What the positions of a side say, `(models, positions, 1, width)`; one position where there is no side."""
        said = (about @ self.about[which])[:, None]
        if side is None:
            return said[:, :, None]
        units = joined([states[name] for name in side.axes]) @ self.sides[which]
        told = side.at_positions(units, units.new_zeros(1, units.shape[2])) + on(side.slots, units) @ self.slots
        return (told + said)[:, :, None]

    def _taps(self, edge: Edge, like: Tensor) -> Float[Tensor, "taps width"]:
        return on(tap_cosines(edge.kernel, TAPS), like) @ self.taps


def _product(rows: Tensor, columns: Tensor, edge: Edge) -> Float[Tensor, "models outs ins taps"]:
    """`W[o, i, t] = U(o) V(i, t)`; within each group where the units of a shared parent pair up."""
    if edge.split is None:
        return torch.einsum("mor,mitr->moit", rows, columns)
    side, index = edge.split
    rows, columns = (x.unflatten(1, (len(index), -1)) for x in (rows, columns))
    found = torch.einsum("mgor,mgitr->mgoit", rows, columns)
    order = index.flatten().argsort().to(found.device)  # from places within groups to places as stored
    if side == "out":
        return found.flatten(1, 2)[:, order]
    return found.transpose(1, 2).flatten(2, 3)[:, :, order]


def _spread(x: Float[Tensor, "models positions rank"]) -> Float[Tensor, "models positions rank"]:
    """Apart over the positions, of root mean square one; a tenth of what all share is kept.

    What all units share would make them one unit, and silence them together.
    """
    if x.shape[1] == 1:
        return x
    mean = x.mean(1, keepdim=True)
    apart = x - mean
    size = apart.square().mean((1, 2), keepdim=True).sqrt() + 1e-3
    return (apart + 0.1 * mean) / size
