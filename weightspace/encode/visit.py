"""One block in one direction: a message, what it says, and the states it changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.plan import Edge
from weightspace.encode.sides import ORDINALS, SLOT_CHANNELS, Side
from weightspace.nn.constants import on
from weightspace.nn.message import KernelMessage
from weightspace.nn.readout import GAIN, Correlation
from weightspace.nn.seeded import draw
from weightspace.nn.units import UnitUpdate, root_mean_square, standardise


@dataclass(frozen=True, eq=False)
class About:
    """What a visit knows beside the weights.

    Args:
        rms: Root mean square of the block, `(models,)`.
        context: Kind, operations and statistics, `(models, context)`.
        parents: State of the parent of each unit that is told, `(models, units, width)`, zeros where there is none;
            None where no unit has one.
    """

    rms: Tensor
    context: Tensor
    parents: Tensor | None


class Visit(nn.Module):
    """Carries states over a block and updates those on its far side.

    Args:
        width: Of a unit's state.
        context: Width of what a block says about itself.
        pairs: Correlations read off.
        generator: Draws the parameters.
    """

    def __init__(self, width: int, context: int, pairs: int, *, generator: Generator) -> None:
        super().__init__()
        self.message = KernelMessage(width, generator=generator)
        self.bare = draw(1, width, generator=generator, scale=1.0)
        self.ordinals = draw(2, ORDINALS, width, generator=generator, scale=0.5)
        self.slots = draw(2, SLOT_CHANNELS, width, generator=generator, scale=0.5)
        self.kind = draw(context, width, generator=generator)
        self.correlation = Correlation(width, pairs, generator=generator)
        self.update = UnitUpdate(width, context, generator=generator)

    def forward(
        self, h: dict[str, Tensor], edge: Edge, matrix: Tensor, *, about: About, direction: str
    ) -> Float[Tensor, "models said"]:
        """Update `h` in place (the mapping, never a tensor) and return what the message said.

        Args:
            h: States by axis.
            edge: The block.
            matrix: Its weights, `(models, out, in, taps)`.
            about: What else is known.
            direction: `ahead` or `back`.
        """
        near, far = edge.ends(direction)
        x = self._positions(h, near, about.context)
        if edge.source is None or edge.target is None:
            m = self.message.within(matrix, x, kernel=edge.kernel)
        else:
            m = self.message.between(matrix, x, kernel=edge.kernel, back=direction == "back", split=edge.split)
            m = m * torch.where(about.rms > 0, 1 / about.rms, 0.0)[:, None, None]
        return self._receive(h, far, far.rows(m * self._modulation(far, 1)), about)

    def _positions(self, h: dict[str, Tensor], side: Side, context: Tensor) -> Tensor:
        states = root_mean_square(torch.cat([h[name] for name in side.axes], 1))
        if side.bare:
            states = torch.cat([states, self.bare.expand(len(states), 1, -1)], 1)
        return side.positions(states) * (self._modulation(side, 0) + (context @ self.kind).tanh()[:, None])

    def _modulation(self, side: Side, end: int) -> Float[Tensor, "positions width"]:
        if side.plain:
            return 1 + self.ordinals[end][:1]
        ordinals, slots = on(side.ordinal, self.bare), on(side.slots, self.bare)
        return 1 + self.ordinals[end][ordinals] + slots @ self.slots[end]

    def _receive(self, h: dict[str, Tensor], side: Side, m: Tensor, about: About) -> Tensor:
        segment, pool = on(side.segment, m), on(side.pool, m)
        before = torch.cat([h[name] for name in side.axes], 1)
        rows = side.units(before)
        told, mean = standardise(m, pool, segment)
        correlation = self.correlation(rows, told, pool, segment)
        parents = None if about.parents is None else side.units(about.parents)
        change = self.update(rows, told, parents, about.context)
        after = before + side.merged(change)
        h.update(zip(side.axes, after.split(side.counts, 1), strict=True))
        return torch.cat([correlation, (GAIN * mean).asinh().sum(1) / len(pool) ** 0.5], 1)
