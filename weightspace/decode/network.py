"""A latent vector and a graph without weights in, the weights of a network out.

vector -> trunk -> a curve of states along each axis, and modulation of all of them
plan   -> unit states (role, index, place in the depth; the curve at that index)
block by block: W[o, it] = U(o) V(i, t)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import final

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import layer_norm, silu

from weightspace.decode.target import CODES, SIZES, Target
from weightspace.encode.plan import Edge
from weightspace.encode.sides import SLOT_CHANNELS, Side
from weightspace.encode.states import ROLES, joined
from weightspace.nn.constants import on
from weightspace.nn.cosines import tap_cosines
from weightspace.nn.names import WordTable
from weightspace.nn.seeded import draw

DEPTHS, TAPS = 8, 12
"""Numbers that tell a stage's place, a tap."""
MEASURED = {"running mean": 0.0, "running variance": 1.0}
"""Blocks that are measured on data, not decoded, and what they hold until then."""
FARTHEST, LOUDEST = 6.0, 3.0
"""Deviations that a number of a vector counts as, at most; logarithm of how much larger a block is than drawn."""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder.

    Args:
        latent: Width of the vectors that are decoded.
        numbers: Principal components of the vectors that are looked at, by the metric; all of the vector if 0.
        trunk: Of what a vector goes through first.
        stories: Layers of the trunk.
        width: Of a unit's state.
        waves: Cosines along an axis whose amplitudes a vector sets; at most `CODES`.
        rank: Of every weight matrix, at most.
        layers: That a unit's state goes through.
        words: Rows of the tables of layer kinds and operations.
    """

    latent: int = 256
    numbers: int = 0
    trunk: int = 512
    stories: int = 2
    width: int = 256
    waves: int = 32
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
    view: Tensor

    def __init__(self, config: DecoderConfig, *, generator: Generator) -> None:
        super().__init__()
        self.config, width, trunk = config, config.width, config.trunk
        self.register_buffer("mean", torch.zeros(config.latent))
        self.register_buffer("spread", torch.ones(config.latent))
        self.register_buffer("view", torch.eye(config.latent))

        def matrix(*shape: int, scale: float | None = None) -> nn.Parameter:
            return draw(*shape, generator=generator, scale=scale)

        self.entry = matrix(config.latent, trunk)
        self.rise = matrix(config.stories, trunk, trunk)
        self.fall = matrix(config.stories, trunk, trunk)
        self.vector = matrix(trunk, width)
        self.curve = matrix(trunk, width)
        self.amplitudes = matrix(width, config.waves * width)
        self.roles = matrix(len(ROLES), width, scale=1.0)
        self.codes = matrix(2 * CODES, width, scale=CODES**-0.5)
        self.depths = matrix(2 * DEPTHS, width, scale=0.5)
        self.counts = matrix(1, width, scale=0.5)
        self.kinds, self.operations = (WordTable(config.words, width, generator=generator) for _ in range(2))
        self.sizes = matrix(SIZES, width, scale=0.1)
        self.shift = matrix(config.layers, width, width)
        self.gain = matrix(config.layers, width, width)
        self.first = matrix(config.layers, width, width)
        self.second = matrix(config.layers, width, width)
        self.sides = matrix(3, width, width)
        self.about = matrix(3, width, width)
        self.slots = matrix(SLOT_CHANNELS, width, scale=0.5)
        self.taps = matrix(TAPS, width, scale=0.5)
        self.rows = matrix(width, config.rank)
        self.columns = matrix(width, config.rank)
        self.own = matrix(width, 1)
        self.level = matrix(width, 1)

    @torch.no_grad()
    def standardise(self, vectors: Float[Tensor, "models latent"]) -> None:
        """Take mean and deviation from vectors; numbers that hardly vary are left small."""
        self.mean.copy_(vectors.mean(0))
        self.spread.copy_(vectors.std(0) + 1e-3)

    def standardised(self, vectors: Float[Tensor, "models latent"]) -> Float[Tensor, "models latent"]:
        """Return vectors less the mean, in deviations."""
        return (vectors - self.mean) / self.spread

    @torch.no_grad()
    def look(self, vectors: Float[Tensor, "models latent"], metric: Float[Tensor, "latent latent"]) -> None:
        """See standardised vectors in a metric from now on, at mean square one over `vectors`.

        Args:
            vectors: To take principal components of, and the size.
            metric: Of standardised vectors, symmetric; what it holds for near is seen as near.
        """
        x = self.standardised(vectors).double()
        values, axes = torch.linalg.eigh(metric.to(x))
        view = axes * values.clamp_min(0).sqrt() @ axes.T
        seen = x @ view
        axes = torch.linalg.eigh(seen.T @ seen).eigenvectors.flip(1)[:, : self.config.numbers or None]
        view = view @ axes @ axes.T
        self.view.copy_(view / (x @ view).square().mean().sqrt())

    def forward(self, vectors: Float[Tensor, "models latent"], target: Target) -> dict[str, Tensor]:
        """Return the weights of a network for each vector, `(models, *stored shape)` by tensor name."""
        x = self.standardised(vectors).clamp(-FARTHEST, FARTHEST)
        h = x @ self.view @ self.entry
        for rise, fall in zip(self.rise, self.fall, strict=True):
            h = h + silu(_even(h) @ rise) @ fall
        h = _even(h)
        z = h @ self.vector
        states = self._states(h, z, target)
        about = self._about(z, target)
        told = [(a @ b).unsqueeze(2) for a, b in zip((about,) * 3, self.about, strict=True)]
        level = (LOUDEST * (0.1 / self.config.width**0.5 * about @ self.level).tanh()).exp()[..., None]
        return {
            edge.tensor: target.stored(edge, self._block(states, edge, [t[:, i] for t in told], level[:, i]))
            for i, edge in enumerate(target.plan.edges)
        }

    def _states(self, h: Tensor, z: Tensor, target: Target) -> list[dict[str, Tensor]]:
        """What units say as rows, as columns and alone, `(models, units, width)` by axis."""
        axes = on(target.axis_roles, z) @ self.roles + on(target.axis_sizes, z) @ self.counts
        axes = 0.5 * (axes + self._place(target.axis_places, z))
        curves = silu((h @ self.curve)[:, None] + axes) @ self.amplitudes
        curves = curves.unflatten(2, (self.config.waves, -1)) / self.config.waves**0.5
        codes = 2 * on(target.unit_codes, z) @ self.codes
        parts = []
        for i, (name, span) in enumerate(target.spans.items()):
            waves = on(target.codes[name], z)[:, : self.config.waves]
            parts.append(codes[span] + axes[i] + waves @ curves[:, i])
        h = torch.cat(parts, 1)
        for shift, gain, first, second in zip(self.shift, self.gain, self.first, self.second, strict=True):
            inner = _even(h) @ first
            h = h + silu(inner * (1 + (z @ gain)[:, None]) + (z @ shift)[:, None]) @ second
        h = _even(h)
        return [{name: said[:, span] for name, span in target.spans.items()} for said in (h @ s for s in self.sides)]

    def _place(self, places: Float[Tensor, " items"], like: Tensor) -> Float[Tensor, "items width"]:
        """Codes of places in the depth, 0 to 1."""
        turns = torch.pi * on(places, like)[:, None] * torch.arange(DEPTHS, dtype=like.dtype, device=like.device)
        return torch.cat([turns.cos(), turns.sin()], 1) @ self.depths

    def _about(self, z: Tensor, target: Target) -> Float[Tensor, "models blocks width"]:
        """What is known of each block."""
        kinds, operations = target.edge_words
        said = self.kinds(kinds) + self.operations(operations) + on(target.edge_sizes, z) @ self.sizes
        return said + self._place(target.edge_places, z) + z[:, None]

    def _block(
        self, states: list[dict[str, Tensor]], edge: Edge, about: list[Tensor], level: Float[Tensor, "models one one"]
    ) -> Tensor:
        """One block as `(models, outs, ins, taps)`."""
        if edge.kind in MEASURED:
            return level.new_full((len(level), *edge.sizes), MEASURED[edge.kind])
        if edge.target is None or edge.source is None:
            told = self._told(states[2], edge.target or edge.source, about[2]) + self._taps(edge, level)
            value = (edge.kind == "norm scale") + 0.1 * level[..., None] * (silu(told) @ self.own)
            return value.expand(-1, prod(edge.sizes) // value.shape[2], -1, -1).reshape(len(level), *edge.sizes)
        rows = _spread(silu(self._told(states[0], edge.target, about[0])[:, :, 0]) @ self.rows)
        columns = silu(self._told(states[1], edge.source, about[1]) + self._taps(edge, level)) @ self.columns
        taps = columns.shape[2]
        columns = _spread(columns.flatten(1, 2)).unflatten(1, (-1, taps))
        scale = level[..., None] * (2 / (edge.sizes[1] * taps * self.config.rank)) ** 0.5
        return scale * _product(rows, columns, edge)

    def _told(self, said: Mapping[str, Tensor], side: Side | None, about: Float[Tensor, "models one width"]) -> Tensor:
        """What the positions of a side say, `(models, positions, 1, width)`; one position where there is no side."""
        if side is None:
            return about[:, :, None]
        units = joined([said[name] for name in side.axes])
        told = side.at_positions(units, units.new_zeros(1, units.shape[2]))
        if not side.plain:
            told = told + on(side.slots, units) @ self.slots
        return (told + about)[:, :, None]

    def _taps(self, edge: Edge, like: Tensor) -> Float[Tensor, "taps width"]:
        return on(tap_cosines(edge.kernel, TAPS), like) @ self.taps


def _even(x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:])


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
