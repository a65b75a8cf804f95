"""Unit states of all axes: where they start, how parents and children share them, how they are pooled."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.plan import Plan
from weightspace.encode.sides import Side
from weightspace.nn.constants import on
from weightspace.nn.cosines import index_codes
from weightspace.nn.readout import moments
from weightspace.nn.seeded import draw
from weightspace.nn.units import root_mean_square, standardise

ROLES = ("input", "hidden", "output", "fixed")


class AxisStates(nn.Module):
    """Unit states by axis, `(models, units, width)`.

    Units of input and output axes start from their role and a code of their index; all others from their role alone,
    so nothing but the weights tells them apart.

    Args:
        width: Of a state.
        generator: Draws the parameters.
    """

    def __init__(self, width: int, *, generator: Generator) -> None:
        super().__init__()
        self.roles = draw(len(ROLES), width, generator=generator, scale=1.0)
        self.codes = draw(width, width, generator=generator)
        self.nested = draw(2 * width, width, generator=generator)

    def start(self, plan: Plan, models: int) -> dict[str, Tensor]:
        """Return the states before the first message."""
        states = {}
        for name, axis in plan.axes.items():
            state = self.roles[ROLES.index(axis.role)].expand(plan.counts[name], -1)
            if axis.role in ("input", "output"):
                state = state + on(index_codes(plan.counts[name], state.shape[1]), state) @ self.codes
            states[name] = state.expand(models, -1, -1)
        return states

    def above(self, h: dict[str, Tensor], plan: Plan, side: Side) -> Tensor | None:
        """State of the parent of each unit of a side, zeros where an axis has none; None where none has."""
        parents = [plan.axes[name].parent for name in side.axes]
        if not any(parents):
            return None
        found = []
        for name, parent in zip(side.axes, parents, strict=True):
            times = plan.axes[name].size
            found.append(torch.zeros_like(h[name]) if parent is None else h[parent].repeat_interleave(times, 1))
        return torch.cat(found, 1)

    def share(self, h: dict[str, Tensor], plan: Plan, side: Side) -> None:
        """Tell the parents of a side's axes the mean and deviation of their children's states."""
        for name in side.axes:
            parent = plan.axes[name].parent
            if parent is None:
                continue
            inside = root_mean_square(h[name]).unflatten(1, (plan.counts[parent], -1))
            pooled = moments(inside.flatten(0, 1)).unflatten(0, (len(h[name]), -1)) @ self.nested
            pool = pooled.new_full((1, pooled.shape[1]), 1 / pooled.shape[1])
            told, _ = standardise(pooled, pool, torch.zeros(pooled.shape[1], dtype=torch.long, device=pool.device))
            h[parent] = h[parent] + told

    def pooled(self, plan: Plan, h: dict[str, Tensor], models: int) -> Float[Tensor, "models features"]:
        """Mean and deviation over the units, averaged over the axes of each role."""
        found = []
        for role in ROLES:
            axes = [moments(root_mean_square(h[name])) for name, axis in plan.axes.items() if axis.role == role]
            found.append(torch.stack(axes).mean(0) if axes else self.roles.new_zeros(models, 2 * self.roles.shape[1]))
        return torch.cat(found, 1)
