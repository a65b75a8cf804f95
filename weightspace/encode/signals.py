"""Networks run on learned signals by their graph alone: no module, no image.

signals of the inputs -> stage by stage: product with the weights, norm, shift, the network's own activation -> outputs

A unit's signals are what it would answer at a few imagined places. Residual sums, norms and activations follow the
operations of the stages; what a graph doesn't tell (attention, gates, strides) is left out, so that such networks are
run in likeness only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from weightspace.encode.plan import Edge, Plan, PlanStage
from weightspace.encode.sides import Side
from weightspace.encode.states import ROLES, joined
from weightspace.encode.weights import Weights
from weightspace.nn.constants import on
from weightspace.nn.cosines import index_codes
from weightspace.nn.patches import Patches
from weightspace.nn.seeded import draw

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "leaky_relu": F.leaky_relu,
    "relu": F.relu,
    "relu6": F.relu6,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sin": lambda x: (30 * x).sin(),
    "softplus": F.softplus,
    "tanh": torch.tanh,
}
"""By operation of a stage. Graphs hold no constant factors: sines are taken as in Sitzmann et al. (2020)."""
CODES = 48
LARGEST = 30.0
"""Root mean square that the signals of a stage are brought down to where they are larger."""
EPS = 1e-5


@final
class Signals(nn.Module):
    """Learned inputs, and the run of a plan on them.

    Args:
        places: Signals of a unit.
        generator: Draws the parameters.
    """

    def __init__(self, places: int, *, generator: Generator) -> None:
        super().__init__()
        self.roles = draw(len(ROLES), places, generator=generator, scale=1.0)
        self.codes = draw(CODES, places, generator=generator)
        self.patches = Patches(places, generator=generator)

    def forward(self, plan: Plan, ready: Sequence[Weights], rms: Tensor) -> dict[str, Tensor]:
        """Return signals by axis, `(models, units, places)`; `(1, ...)` where no weight has touched them.

        Args:
            plan: The architecture's.
            ready: Weights of its edges.
            rms: Root mean square of each, `(models, edges)`.
        """
        run = _Run(self.patches, {name: self._start(plan, name) for name in plan.axes})
        given = iter(zip(plan.edges, ready, rms.unbind(1), strict=True))
        for stage in plan.stages:
            run.pass_stage(stage, [next(given) for _ in stage.edges])
        return run.signals

    def _start(self, plan: Plan, name: str) -> Tensor:
        """Signals of units that nothing writes: by their role, and by their index where it has a meaning."""
        role, count = plan.axes[name].role, plan.counts[name]
        start = self.roles[ROLES.index(role)].expand(1, count, -1)
        return start if role == "hidden" else start + on(index_codes(count, CODES), start) @ self.codes


Given = tuple[Edge, Weights, Tensor]
"""An edge with its weights and their root mean square, `(models,)`."""


@dataclass(eq=False)
class _Run:
    """Signals on their way.

    Args:
        patches: Products with weights.
        signals: By axis.
        kept: What a residual sum adds to what is written now, by axis.
        written: Axes that a stage has written.
    """

    patches: Patches
    signals: dict[str, Tensor]
    kept: dict[str, Tensor] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def pass_stage(self, stage: PlanStage, given: list[Given]) -> None:
        """Write what the stage answers to the axes that it tells."""
        own = [each for each in given if not each[0].between]
        totals: dict[Side, Tensor] = {}
        for edge, weights, rms in given:
            if edge.source is not None and edge.target is not None:
                told = self._product(edge, weights, rms)
                totals[edge.target] = totals[edge.target] + told if edge.target in totals else told
        alone = [side for edge, _, _ in own[:1] if (side := edge.target or edge.source)]
        for side in list(totals) or alone:
            if side.axes:
                self._write(side, stage.ops, totals.get(side), own)

    def _product(self, edge: Edge, weights: Weights, rms: Tensor) -> Tensor:
        side = edge.source
        assert side is not None
        states = joined([self.signals[name] for name in side.axes])
        x = side.at_positions(states, states.new_ones(1, states.shape[2]))
        if weights.waves is None:
            return self.patches.between(weights.matrix, x, edge.kernel, edge.split, weights.how)
        plain = weights.waves[..., :-1]  # the last are sizes
        return self.patches.across(plain, x, edge.kernel) * rms[:, None, None]

    def _write(self, side: Side, ops: tuple[str, ...], told: Tensor | None, own: list[Given]) -> None:
        if told is None:
            x = joined([self.signals[name] for name in side.axes])
        else:
            x = side.merged(side.rows(told))
            again = self.written.intersection(side.axes)
            self.kept |= {name: self.signals[name] for name in again - set(self.kept)}
        x = _apply_own(x, _own_values(own, side, x.dtype), ops)
        parts = dict(zip(side.axes, x.split(side.counts, 1), strict=True))
        for name, part in parts.items():
            if "add" in ops and name in self.kept:
                part = part + self.kept.pop(name)
            for activation in (ACTIVATIONS[op] for op in ops if op in ACTIVATIONS):
                part = activation(part)
            self.signals[name] = _bounded(part)
        self.written |= parts.keys()


def _own_values(own: list[Given], side: Side, dtype: torch.dtype) -> dict[str, Tensor]:
    """What sits on the units of a side, `(models, units, 1)` by kind; blocks of one kind are added up."""
    found: dict[str, Tensor] = {}
    for edge, weights, _ in own:
        place = edge.target or edge.source
        if place is not None and place.axes == side.axes:
            value = place.merged(place.rows(weights.matrix.flatten(2)[..., :1].to(dtype)))
            found[edge.kind] = found[edge.kind] + value if edge.kind in found else value
    return found


def _apply_own(x: Tensor, own: Mapping[str, Tensor], ops: tuple[str, ...]) -> Tensor:
    """Signals after the norm, gains and shifts that sit on their side."""
    if "running mean" in own and "running variance" in own:
        x = (x - own["running mean"]) * (own["running variance"].clamp_min(0) + EPS).rsqrt()
    elif ops[0] == "norm":
        x = x - x.mean(1, keepdim=True)
        x = x * (x.square().mean(1, keepdim=True) + EPS).rsqrt()
    if "norm scale" in own:
        x = x * own["norm scale"]
    for kind in ("norm shift", "bias"):
        x = x + own[kind] if kind in own else x
    return x


def evened(x: Tensor) -> Tensor:
    """Signals of root mean square one, network by network."""
    return x / _size(x).clamp_min(1e-6)


def _bounded(x: Tensor) -> Tensor:
    """Signals of a root mean square of `LARGEST` at most, network by network: deep likenesses can grow without end."""
    return x * (LARGEST / _size(x).clamp_min(LARGEST))


def _size(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) / (x.shape[1] * x.shape[2]) ** 0.5
