"""One block in one direction: a message, what it says, and the states it changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.plan import Edge
from weightspace.encode.sides import ORDINALS, SLOT_CHANNELS, Side
from weightspace.encode.states import UnitStates, joined
from weightspace.encode.weights import Weights
from weightspace.nn.constants import on
from weightspace.nn.message import KernelMessage, OwnMessage
from weightspace.nn.readout import GAIN, Correlation, asinh
from weightspace.nn.seeded import draw
from weightspace.nn.units import UnitUpdate, standardise


@dataclass(frozen=True, eq=False)
class About:
    """What a visit knows of a block.

    Args:
        weights: The block's.
        gate: What it says about itself to the states that are read, `(models, width)`.
        said: What it says about itself to the states that are changed, `(models, 2 * width)`.
        parents: State of the parent of each unit that is told, `(models, units, width)`, of root mean square one, zeros
            where there is none; None where no unit has one.
        plain: See `Visit.plain`.
    """

    weights: Weights
    gate: Tensor
    said: Tensor
    parents: Tensor | None
    plain: tuple[Tensor, Tensor]


class Visit(nn.Module):
    """Carries states over a block and updates those on its far side.

    Args:
        width: Of a unit's state.
        context: Width of what a block says about itself.
        pairs: Correlations read off.
        back: Whether it goes from outputs to inputs.
        own: Whether it visits blocks on one side alone, too.
        generator: Draws the parameters.
    """

    def __init__(self, width: int, context: int, pairs: int, *, back: bool, own: bool, generator: Generator) -> None:
        super().__init__()
        self.back = back
        self.message = KernelMessage(width, generator=generator)
        self.own = OwnMessage(width, generator=generator) if own else None
        self.bare = draw(1, width, generator=generator, scale=1.0)
        self.ordinals = draw(2, ORDINALS, width, generator=generator, scale=0.5)
        self.slots = draw(2, SLOT_CHANNELS, width, generator=generator, scale=0.5)
        self.kind = draw(context, width, generator=generator)
        self.correlation = Correlation(width, pairs, generator=generator)
        self.update = UnitUpdate(width, context, generator=generator)

    def gates(self, contexts: Float[Tensor, "models blocks context"]) -> tuple[list[Tensor], list[Tensor]]:
        """Return `About.gate` and `About.said` of each block."""
        gates, said = (contexts @ self.kind).tanh(), contexts @ self.update.context
        return list(gates.unbind(1)), list(said.unbind(1))

    def plain(self) -> tuple[Tensor, Tensor]:
        """Return the factors of states that are read and of messages, where all positions are alike."""
        near, far = (1 + self.ordinals[:, :1]).unbind()
        return near, far

    def forward(
        self, h: UnitStates, edge: Edge, about: About
    ) -> tuple[Float[Tensor, "models segments pairs"], Float[Tensor, "models segments width"]]:
        """Update `h` in place (the mapping, never a tensor) and return what the message said.

        Args:
            h: States by axis.
            edge: The block.
            about: What is known of it.
        """
        near, far = edge.ends(self.back)
        x = self._positions(h, near, about)
        if edge.between:
            m = about.weights.across(self.message, edge, x, back=self.back)
        else:
            assert self.own is not None
            m = about.weights.within(self.own, edge, x)
        return self._receive(h, far, far.rows(m * self._modulation(far, 1, about)), about)

    def _positions(self, h: UnitStates, side: Side, about: About) -> Tensor:
        states = side.at_positions(joined([h.even(name) for name in side.axes]), self.bare)
        return states * (self._modulation(side, 0, about) + about.gate[:, None])

    def _modulation(self, side: Side, end: int, about: About) -> Float[Tensor, "positions width"]:
        if side.plain:
            return about.plain[end]
        ordinals, slots = on(side.ordinal, self.bare), on(side.slots, self.bare)
        return 1 + self.ordinals[end][ordinals] + slots @ self.slots[end]

    def _receive(self, h: UnitStates, side: Side, m: Tensor, about: About) -> tuple[Tensor, Tensor]:
        pool, segment = (None, None) if side.single else (on(side.pool, m), on(side.segment, m))
        before = joined([h[name] for name in side.axes])
        told, mean = standardise(m, pool, segment)
        correlation = self.correlation(side.units(before), told, pool, segment)
        even = side.units(joined([h.even(name) for name in side.axes]))
        parents = None if about.parents is None else side.units(about.parents)
        after = before + side.merged(self.update(even, told, parents, about.said))
        states = after.split(side.counts, 1) if len(side.axes) > 1 else (after,)
        for name, state in zip(side.axes, states, strict=True):
            h[name] = state
        return correlation, mean


def said_of(heard: list[tuple[Tensor, Tensor]]) -> Float[Tensor, "models edges said"]:
    """Return what the segments of each edge said, added up and divided by the square root of how many they are."""
    counts = tuple(mean.shape[1] for _, mean in heard)
    each = [torch.cat(parts, 1) for parts in zip(*heard, strict=True)]
    told = asinh(GAIN * torch.cat(each, 2))
    return told if max(counts) == 1 else on(_sums(counts), told) @ told


@lru_cache(maxsize=1024)
def _sums(counts: tuple[int, ...]) -> Float[Tensor, "edges segments"]:
    counted = torch.tensor(counts)
    owner = torch.arange(len(counts)).repeat_interleave(counted)
    return torch.nn.functional.one_hot(owner).double().T / counted.double().sqrt()[:, None]
