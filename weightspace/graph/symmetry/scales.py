"""Where positive factors of hidden units reach the tensors of an architecture, and the factors that balance networks.

    weights -> energies (sums of squares) -> logarithms of factors -> balanced weights

Everything but `Rescalings.of` takes networks of one architecture in a stack, with a leading axis of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weightspace.errors import GraphError
from weightspace.graph.axes import Leaf, ParameterGraph
from weightspace.graph.layout import digits_of
from weightspace.graph.symmetry.orders import parent_sizes
from weightspace.graph.symmetry.rescale import powers_along, scalable
from weightspace.graph.symmetry.units import Places

SWEEPS, SETTLED = 1000, 1e-9
"""Rounds over the axes at most, and the logarithm of a factor that no longer counts."""
TOGETHER = 1 << 20
"""Numbers that are squared at once."""


@dataclass(frozen=True, eq=False)
class Reach:
    """Where the units of one axis meet one tensor along one dimension.

    Args:
        axis: Its name.
        units: Number of the unit at each place, of a shape that broadcasts to the tensor's.
        powers: To which its factor reaches the place, of such a shape too; 0 where none does.
    """

    axis: str
    units: Tensor
    powers: Tensor

    @cached_property
    def shape(self) -> torch.Size:
        """Sizes of the dimensions along which factors differ, 1 for all others."""
        return torch.broadcast_shapes(self.units.shape, self.powers.shape)

    def logarithms(self, logs: Tensor) -> Tensor:
        """Lay logarithms of factors `(models, units)` along the tensor, `(models, *shape)`."""
        return logs[:, self.units] * self.powers

    def gather(self, parts: Tensor, own: Tensor, units: int) -> tuple[Tensor, Tensor]:
        """Sum parts of a tensor's energy by unit, times the power: where it grows with the factor, and shrinks.

        `own` is what the factors here multiply the parts by.
        """
        shape = self.shape
        total = _sum(parts, [d + 1 for d, size in enumerate(shape) if size == 1])
        weighted = (total * own * self.powers).flatten(1)
        index = self.units.expand(shape).flatten()
        grown, shrunk = (parts.new_zeros(len(parts), units) for _ in range(2))
        grown.index_add_(1, index, weighted.clamp(min=0))
        shrunk.index_add_(1, index, (-weighted).clamp(min=0))
        return grown, shrunk


@dataclass(frozen=True, eq=False)
class Rescalings:
    """All positive rescalings of an architecture.

    Args:
        units: How many of each axis that can be rescaled.
        reaches: By tensor, where factors reach it; tensors that none reaches are not there.
        steepness: By axis, the highest sum of powers with which its factors meet in one number.
    """

    units: Mapping[str, int]
    reaches: Mapping[str, tuple[Reach, ...]]
    steepness: Mapping[str, float]

    @classmethod
    def of(cls, graph: ParameterGraph) -> Rescalings:
        """Return those of a traced graph; an inferred one shows no activation, so it has none."""
        found: dict[str, dict[str, list[Reach]]] = {}
        for axis, kind in scalable(graph).items():
            if graph.source == "trace" and kind != "sign" and (reaches := _reaches(graph, axis)):
                found[axis] = reaches
        tensors = dict.fromkeys(name for reaches in found.values() for name in reaches)
        return cls(
            {axis: graph.count(axis) for axis in found},
            {name: tuple(r for reaches in found.values() for r in reaches.get(name, ())) for name in tensors},
            {axis: max(map(_steepness, reaches.values())) for axis, reaches in found.items()},
        )

    def energies(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return sums of squared weights over all that the same factors reach, read in one pass.

        Args:
            weights: Every tensor in `reaches`, `(models, *shape)`.
        """
        found = {}
        for name, reaches in self.reaches.items():
            shape = torch.broadcast_shapes(*(reach.shape for reach in reaches))
            found[name] = _squares(weights[name], [d + 1 for d, size in enumerate(shape) if size == 1])
        return found

    def settle(self, energies: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return logarithms of the factors that balance networks, `(models, units)` by axis.

        With `x` all logarithms, `a` the powers that meet in a number and `E` its energy, `sum E exp(2 a.x)` is convex
        in `x`. For one axis `exp(2 a.x)` is at most `sum_k |a_k| / s exp(2 s sign(a_k) x_k)` plus what does not
        depend on `x`, where `s` bounds `sum_k |a_k|`, with equality at `x = 0`; the least of that bound,
        `x_k = log(shrunk_k / grown_k) / 4s`, is a step that never leads up. It is exact where `s` is 1. Each round sets
        out from where the last one's way would lead on, until that way turns: the scale that all units of a residual
        stream share is held by its ends alone, and steps by themselves creep there.

        Args:
            energies: See there.

        Source:
            O'Donoghue and Candes (2015), "Adaptive restart for accelerated gradient schemes", section 3.2; our steps
            are those above, axis by axis.
        """
        if not self.units:
            return {}
        some = next(iter(energies.values()))
        before = logs = {axis: some.new_zeros(len(some), units) for axis, units in self.units.items()}
        rounds = some.new_zeros(len(some), 1)
        for _ in range(SWEEPS):
            onward = rounds / (rounds + 3)
            start = {axis: log + onward * (log - before[axis]) for axis, log in logs.items()}
            found = dict(start)
            moved = max(self._step(energies, found, axis) for axis in self.units)
            along = torch.cat([(x - start[axis]) * (x - logs[axis]) for axis, x in found.items()], 1)
            before, logs, rounds = logs, found, torch.where(along.sum(1, keepdim=True) < 0, 0.0, rounds + 1)
            if moved < SETTLED:
                break
        return logs

    def _step(self, energies: Mapping[str, Tensor], logs: dict[str, Tensor], axis: str) -> float:
        """Balance the units of one axis; return the largest logarithm of a factor."""
        grown, shrunk = torch.zeros_like(logs[axis]), torch.zeros_like(logs[axis])
        for name, reaches in self.reaches.items():
            if all(reach.axis != axis for reach in reaches):
                continue
            squared = _by_shape(reaches, logs)
            for reach in reaches:
                if reach.axis != axis:
                    continue
                now = energies[name]
                for shape, factor in squared.items():
                    now = now if shape == reach.shape else now * factor
                more, less = reach.gather(now, squared[reach.shape], self.units[axis])
                grown, shrunk = grown + more, shrunk + less
        there = (grown > 0) & (shrunk > 0) & torch.isfinite(grown + shrunk)
        step = torch.where(there, (shrunk / grown).log() / (4 * self.steepness[axis]), 0.0)
        logs[axis] = logs[axis] + step
        return float(step.abs().max()) if step.numel() else 0.0

    def factors(self, name: str, logs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What a tensor is multiplied by, each of a shape that broadcasts to `(models, *shape)`: any tile can be cut.

        Args:
            name: Of the tensor.
            logs: See `settle`.
        """
        return tuple(reach.logarithms(logs[reach.axis]).exp() for reach in self.reaches.get(name, ()))

    def balance(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return balanced networks of the same functions, in the same precision; what no factor reaches is not copied.

        Args:
            weights: Every tensor in `reaches` at least, `(models, *shape)`.
        """
        return self.multiply(weights, self.settle(self.energies(weights)))

    def multiply(self, weights: Mapping[str, Tensor], logs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return networks multiplied by factors whose logarithms are given, `(models, units)` by axis."""
        return {name: _multiplied(tensor, self.factors(name, logs)) for name, tensor in weights.items()}


def _by_shape(reaches: Iterable[Reach], logs: Mapping[str, Tensor]) -> dict[torch.Size, Tensor]:
    """Squares of the factors of a tensor, those along the same dimensions together."""
    found: dict[torch.Size, Tensor] = {}
    for reach in reaches:
        more = 2 * reach.logarithms(logs[reach.axis])
        found[reach.shape] = found[reach.shape] + more if reach.shape in found else more
    return {shape: log.exp() for shape, log in found.items()}


def _multiplied(tensor: Tensor, factors: Iterable[Tensor]) -> Tensor:
    scaled = tensor
    for factor in factors:
        scaled = scaled * factor
    return scaled.to(tensor.dtype)


def _squares(tensor: Tensor, dims: list[int]) -> Tensor:
    """Sum squares in double precision over some dimensions, kept with size 1; rows of a large tensor piece by piece."""
    rows = max(1, TOGETHER * tensor.shape[1] // max(1, tensor.numel())) if tensor.ndim > 1 else 1
    if tensor.ndim < 2 or tensor.shape[1] <= rows:
        return _sum(tensor.double().square(), dims)
    parts = [_sum(part.double().square(), dims) for part in tensor.split(rows, 1)]
    return torch.stack(parts).sum(0) if 1 in dims else torch.cat(parts, 1)


def _sum(x: Tensor, dims: list[int]) -> Tensor:
    return x.sum(dims, keepdim=True) if dims else x


def _steepness(reaches: list[Reach]) -> float:
    return sum(float(reach.powers.abs().max()) for reach in reaches)


def _reaches(graph: ParameterGraph, axis: str) -> dict[str, list[Reach]]:
    """Where the units of an axis meet tensors; nothing if one holds a single copy for all units of a parent."""
    numbers = np.arange(graph.count(axis)).reshape(*parent_sizes(graph, axis), graph.axes[axis].size)
    found: dict[str, list[Reach]] = {}
    for tensor, rows in graph.scalings[axis]["positive"].powers.items():
        layout = Places.of(graph, graph.blocks[tensor])
        for d, row in enumerate(rows):
            if any(row):
                try:
                    found.setdefault(tensor, []).append(_reach(layout, axis, d, (numbers, row)))
                except GraphError:
                    return {}
    return found


def _reach(layout: Places, axis: str, d: int, given: tuple[np.ndarray, tuple[float, ...]]) -> Reach:
    numbers, row = given
    powers = powers_along(layout.graph, layout.block.dims[d], axis, row).copy()
    pieces = []
    for segment in layout.segments[d]:
        piece, met = layout.along(np.zeros(len(segment.positions), np.int64), d), False
        digits = digits_of([layout.graph.length(factor) for factor in segment.factors])
        for factor, digit in zip(segment.factors, digits, strict=True):
            if factor == Leaf(axis):
                piece, met = layout.of_units(d, segment, axis, numbers, digit), True
        if not met:
            powers[segment.positions] = 0
        pieces.append(piece)
    return Reach(axis, torch.from_numpy(layout.fill(d, pieces)), torch.from_numpy(layout.along(powers, d)))
