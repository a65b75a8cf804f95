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


class UnitStates(dict[str, Tensor]):
    """States by axis; also each divided by its root mean square, computed once until the state changes.

    States that no network has changed yet are `(1, units, width)`, the same for all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._even: dict[str, Tensor] = {}

    def __setitem__(self, axis: str, state: Tensor) -> None:
        """Replace the states of an axis."""
        super().__setitem__(axis, state)
        self._even.pop(axis, None)

    def even(self, axis: str) -> Tensor:
        """States of an axis, each of root mean square one."""
        if axis not in self._even:
            self._even[axis] = root_mean_square(self[axis])
        return self._even[axis]


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

    def start(self, plan: Plan) -> UnitStates:
        """Return the states before the first message."""
        states = UnitStates()
        for name, axis in plan.axes.items():
            state = self.roles[ROLES.index(axis.role)].expand(plan.counts[name], -1)
            if axis.role in ("input", "output"):
                state = state + on(index_codes(plan.counts[name], state.shape[1]), state) @ self.codes
            states[name] = state[None]
        return states

    def above(self, h: UnitStates, plan: Plan, side: Side) -> Tensor | None:
        """State of the parent of each unit of a side, of root mean square one, zeros where an axis has none.

        None where none has.
        """
        parents = [plan.axes[name].parent for name in side.axes]
        if not any(parents):
            return None
        found = []
        for name, parent in zip(side.axes, parents, strict=True):
            times = plan.axes[name].size
            found.append(torch.zeros_like(h[name]) if parent is None else h.even(parent).repeat_interleave(times, 1))
        return joined(found)

    def share(self, h: UnitStates, plan: Plan, side: Side) -> None:
        """Tell the parents of a side's axes the mean and deviation of their children's states."""
        for name in side.axes:
            parent = plan.axes[name].parent
            if parent is None:
                continue
            inside = h.even(name).unflatten(1, (plan.counts[parent], -1))
            pooled = moments(inside.flatten(0, 1)).unflatten(0, (len(h[name]), -1)) @ self.nested
            told, _ = standardise(pooled, None, None)
            h[parent] = h[parent] + told

    def pooled(self, plan: Plan, h: UnitStates, models: int) -> Float[Tensor, "models features"]:
        """Mean and deviation over the units, averaged over the axes of each role."""
        found = []
        for role in ROLES:
            axes = [moments(h.even(name)).expand(models, -1) for name, axis in plan.axes.items() if axis.role == role]
            found.append(torch.stack(axes).mean(0) if axes else self.roles.new_zeros(models, 2 * self.roles.shape[1]))
        return torch.cat(found, 1)


def joined(states: list[Tensor]) -> Float[Tensor, "models units width"]:
    """Return the units of several axes, one axis after the other."""
    if len(states) == 1:
        return states[0]
    models = max(len(state) for state in states)
    return torch.cat([state.expand(models, -1, -1) for state in states], 1)
