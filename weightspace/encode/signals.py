"""Networks run on learned signals by their graph alone: no module, no image, no place.

signals of the inputs -> block by block: product with the weights, bias, norm, the network's own activation -> outputs

A unit's signals are what it would answer at a few imagined places. What a kernel sees around a place is the signal of
the place and, at higher cosines, learned mixtures of other places. Residual sums, norms and activations follow the
operations of the stages; what a graph doesn't tell (attention, gates, strides) is left out, so that such networks are
run in likeness only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.encode.plan import Edge, Plan, PlanStage
from weightspace.encode.sides import Side
from weightspace.encode.states import ROLES, joined
from weightspace.nn.constants import on
from weightspace.nn.cosines import FREQUENCIES, index_codes, kernel_cosines
from weightspace.nn.seeded import draw
from weightspace.nn.tiles import as_matrix, grouped

ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "elu": F.elu,
    "hardswish": F.hardswish,
    "relu6": F.relu6,
}
CODES = 48
LARGEST = 30.0
"""Root mean square that signals are brought down to where they are larger."""
EPS = 1e-5
NEAR_ONE = 0.3


class Signals(nn.Module):
    """Learned inputs and patches, and the run of a plan on them.

    Args:
        places: Signals of a unit.
        generator: Draws the parameters.
    """

    def __init__(self, places: int, *, generator: Generator) -> None:
        super().__init__()
        self.roles = draw(len(ROLES), places, generator=generator, scale=1.0)
        self.codes = draw(CODES, places, generator=generator)
        mixers = NEAR_ONE * draw(len(FREQUENCIES), places, places, generator=generator).detach()
        mixers[0] += torch.eye(places)
        self.mixers = nn.Parameter(mixers)

    def forward(self, plan: Plan, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return signals by axis, `(models, units, places)`.

        Args:
            plan: The architecture's.
            weights: Tensor name to `(models, out, in, taps)`.
        """
        signals = {name: self._start(plan, name)[None] for name in plan.axes}
        written, before = set[str](), dict[str, Tensor]()
        for stage in plan.stages:
            self._stage(stage, weights, signals, (written, before))
        return signals

    def _start(self, plan: Plan, name: str) -> Tensor:
        axis = plan.axes[name]
        start = self.roles[ROLES.index(axis.role)].expand(plan.counts[name], -1)
        return start + on(index_codes(plan.counts[name], CODES), start) @ self.codes

    def _stage(self, stage: PlanStage, weights: Mapping[str, Tensor], signals: dict[str, Tensor], kept: tuple) -> None:
        written, before = kept
        own = [edge for edge in stage.edges if edge.source is None or edge.target is None]
        total: dict[Side, Tensor] = {}
        for edge in stage.edges:
            if edge in own or edge.target is None:
                continue
            m = self._carry(edge, weights[edge.tensor], signals)
            total[edge.target] = total[edge.target] + m if edge.target in total else m
        sides = list(total) or [side for edge in own[:1] if (side := edge.target or edge.source)]
        for side in sides:
            axes = side.axes
            if not axes:
                continue
            current = joined([signals[name] for name in axes])
            if side in total:
                for name in axes:
                    if name in written:
                        before.setdefault(name, signals[name])
                current = side.merged(side.rows(total[side]))
            here = [e for e in own if (e.target or e.source).axes == axes]
            current = _own(current, here, weights, norm=stage.ops[0])
            if "add" in stage.ops:
                parts = current.split(side.counts, 1)
                current = torch.cat([p + before.pop(n) if n in before else p for n, p in zip(axes, parts)], 1)
            for op in stage.ops:
                if op in ACTIVATIONS:
                    current = ACTIVATIONS[op](current)
            size = current.square().mean((1, 2), keepdim=True).sqrt()
            current = current * (LARGEST / size.clamp_min(LARGEST))
            for name, part in zip(axes, current.split(side.counts, 1)):
                signals[name] = part
                written.add(name)

    def _carry(self, edge: Edge, weight: Tensor, signals: dict[str, Tensor]) -> Tensor:
        """Products of a block with what its units see, `(models, positions, places)`."""
        side = edge.source
        states = joined([signals[name] for name in side.axes])
        if side.bare:
            states = torch.cat([states, torch.ones_like(states[:, :1])], 1)
        x = side.positions(states)
        channels, cosines = kernel_cosines(edge.kernel)
        waves = (weight @ on(cosines, weight)) * len(cosines) if len(cosines) > 1 else weight  # sums over the taps
        mixers = self.mixers.index_select(0, on(_index(tuple(channels)), x))  # (channels, places, places)
        seen = (x[:, None] @ mixers) if len(channels) > 1 else x[:, None]  # (models, channels, positions, places)
        if edge.split:
            index = edge.split[1]
            waves = grouped(waves, edge.split[0], index, dim=1)  # (models, groups, outs, ins, channels)
            seen = seen.unflatten(2, (len(index), -1))  # (models, channels, groups, ins, places)
            found = waves.movedim(-1, 2).transpose(2, 3).flatten(3) @ seen.movedim(1, 2).flatten(2, 3)
            return found.flatten(1, 2)
        return waves.transpose(2, 3).flatten(2) @ seen.flatten(1, 2)


def _own(current: Tensor, edges: list[Edge], weights: Mapping[str, Tensor], *, norm: str) -> Tensor:
    """Signals after the norms, gains and shifts of their own side."""
    by_kind = {edge.kind: edge for edge in edges}

    def value(kind: str) -> Tensor | None:
        edge = by_kind.get(kind)
        side = edge and (edge.target or edge.source)
        if edge is None or side is None:
            return None
        return side.merged(side.rows(weights[edge.tensor].flatten(2)[..., :1]))

    mean, variance = value("running mean"), value("running variance")
    if mean is not None and variance is not None:
        current = (current - mean) * (variance.clamp_min(0) + EPS).rsqrt()
    elif norm == "norm":
        current = current - current.mean(1, keepdim=True)
        current = current * (current.square().mean(1, keepdim=True) + EPS).rsqrt()
    gain, shift, bias = value("norm scale"), value("norm shift"), value("bias")
    for factor in (gain,):
        current = current if factor is None else current * factor
    for summand in (shift, bias):
        current = current if summand is None else current + summand
    return current


@lru_cache(maxsize=256)
def _index(channels: tuple[int, ...]) -> Tensor:
    return torch.tensor(channels)
