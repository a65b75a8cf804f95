"""The weights of a plan as its sweeps read them: measured, scaled, and as waves where they are small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.encode.plan import Edge, Plan
from weightspace.execute.processes import ALONE, Team
from weightspace.execute.threads import side_by_side
from weightspace.nn.message import KernelMessage, OwnMessage, own_waves, small_waves
from weightspace.nn.products import PLAIN, Products
from weightspace.nn.statistics import measure
from weightspace.nn.tiles import is_streamed

LITTLE = 1 << 20
"""Numbers of all weights up to which operations on them gain nothing from a second thread."""
TOGETHER = 1 << 16
HELD = 1 << 25
"""Numbers of tensors of one shape that are measured together, and of all small tensors whose waves are kept."""


@dataclass(frozen=True, eq=False)
class Weights:
    """One block's.

    Args:
        matrix: `(models, outs, ins, taps)` as stored.
        inverse: One over the root mean square, `(models,)`; 0 for zeros.
        waves: See `small_waves` and `own_waves`; None where they are made for each message, tile by tile.
        how: Products with the matrix are made.
    """

    matrix: Tensor
    inverse: Tensor
    waves: Tensor | None
    how: Products = PLAIN

    def within(self, message: OwnMessage, edge: Edge, x: Tensor) -> Tensor:
        """Return the messages of a block on one side from the states `x` of its positions to themselves."""
        waves = own_waves(self.matrix, edge.kernel, x.dtype) if self.waves is None else self.waves
        return message(waves, x, edge.kernel)

    def across(self, message: KernelMessage, edge: Edge, x: Tensor, *, back: bool) -> Tensor:
        """Return the messages from the states `x` of one side's positions to the other's."""
        if self.waves is not None:
            return message.across(self.waves, x, kernel=edge.kernel, back=back)
        m = message.between(self.matrix, x, kernel=edge.kernel, back=back, split=edge.split, how=self.how)
        return m * self.inverse[:, None, None]


def thrifty(weights: Mapping[str, Tensor]) -> bool:
    """Whether one thread an operation does as well as several: on a CPU, with little to do or with large tensors.

    Tiles of large ones are seen to side by side.
    """
    whole = list(weights.values())
    little = sum(tensor.numel() for tensor in whole) <= LITTLE
    return whole[0].device.type == "cpu" and (little or any(is_streamed(tensor) for tensor in whole))


def ready_weights(
    plan: Plan, matrices: Mapping[str, Tensor], rms: Float[Tensor, "models edges"], how: Products = PLAIN
) -> list[Weights]:
    """Return the weights of each edge; waves of small blocks are computed once if all of them fit."""
    inverses = torch.where(rms > 0, 1 / rms, 0.0).unbind(1)
    small = {e.tensor for e in plan.edges if e.split is None and not is_streamed(matrices[e.tensor])}
    kept = small if sum(matrices[name].numel() for name in small) <= HELD else set()
    found = []
    for edge, inverse in zip(plan.edges, inverses, strict=True):
        matrix = matrices[edge.tensor]
        waves = _waves(edge, matrix, inverse, how.dtype) if edge.tensor in kept else None
        found.append(Weights(matrix, inverse, waves, how))
    return found


def _waves(edge: Edge, matrix: Tensor, inverse: Tensor, dtype: torch.dtype | None) -> Tensor:
    if not edge.between:
        return own_waves(matrix, edge.kernel, inverse.dtype)
    return small_waves(matrix, edge.kernel, inverse).to(dtype or inverse.dtype)


def measure_weights(
    plan: Plan, matrices: Mapping[str, Tensor], dtype: torch.dtype, team: Team = ALONE
) -> Float[Tensor, "models edges measures"]:
    """Return the measures of every tensor; small ones of one shape are taken together.

    Each process of a team takes some of the tensors, and they tell each other.
    """

    def measured_together(edges: list[Edge]) -> Tensor:
        parts = [matrices[edge.tensor] for edge in edges]
        return measure(parts[0] if len(parts) == 1 else torch.cat(parts), dtype, edges[0].split)

    alike: dict[tuple[object, ...], list[Edge]] = {}
    for edge in plan.edges:
        alone = prod(edge.sizes) > TOGETHER or edge.split is not None
        key = (edge.tensor,) if alone else (edge.sizes, matrices[edge.tensor].dtype)
        alike.setdefault(key, []).append(edge)
    found: dict[str, Tensor] = {}
    groups = list(alike.values())
    sizes = [float(len(edges) * prod(edges[0].sizes)) for edges in groups]
    own = [groups[i] for i in sorted(team.deal(sizes), key=lambda i: -sizes[i])]
    large = [edges for edges in own if is_streamed(matrices[edges[0].tensor])]
    small = [edges for edges in own if not is_streamed(matrices[edges[0].tensor])]
    measured = side_by_side(measured_together, large) + [measured_together(edges) for edges in small]
    for edges, measures in zip(large + small, measured, strict=True):
        found |= zip((edge.tensor for edge in edges), measures.split(len(measures) // len(edges)), strict=True)
    if team.world > 1:
        device = matrices[plan.edges[0].tensor].device
        shared = team.gather({name: measures.cpu() for name, measures in found.items()})
        found = {name: measures.to(device) for part in shared for name, measures in part.items()}
    return torch.stack([found[edge.tensor] for edge in plan.edges], 1)
