"""One side of a block: which unit stands at each position, and how positions are averaged into units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.graph.axes import ParameterGraph
from weightspace.graph.layout import Segment
from weightspace.nn.cosines import slot_cosines
from weightspace.nn.gather import Gather, mean_gather

ORDINALS = 16
SLOT_CHANNELS = 3


@dataclass(frozen=True, eq=False)
class Side:
    """The positions of one side of a block, and the units of the axes that they belong to.

    The units of `axes`, one axis after the other, are the side's units; where it is `bare`, a last row stands for the
    positions without a unit. `rows` are the units that a message is averaged into, once for each segment (each gate,
    each of queries and keys).

    Args:
        axes: Distinct axis names.
        counts: Their units.
        positions: Unit of each position (the mean over units where a parent is not named).
        bare: Whether some positions have no unit.
        ordinal: Of each position: the how manieth segment of its axis it lies in (gate number).
        slots: Cosines of each position's slot.
        rows: Row to positions.
        segment: Segment of each row.
        units: Row to side unit.
        merged: Side unit to rows (several where an axis has several segments).
    """

    axes: tuple[str, ...]
    counts: tuple[int, ...]
    positions: Gather
    bare: bool
    ordinal: Tensor
    slots: Tensor
    rows: Gather
    segment: Tensor
    units: Gather
    merged: Gather

    def at_positions(
        self, units: Float[Tensor, "models units width"], bare: Float[Tensor, "one_row width"]
    ) -> Float[Tensor, "models positions width"]:
        """Return what stands at each position: of its unit (see `positions`), or `bare` where there is none."""
        if self.bare:
            units = torch.cat([units, bare.expand(len(units), 1, -1)], 1)
        return self.positions(units)

    @cached_property
    def single(self) -> bool:
        """Whether all rows are of one segment."""
        return not self.segment.any()

    @cached_property
    def pool(self) -> Tensor:
        """Mean over the rows of each segment, `(segments, rows)`."""
        hot = torch.nn.functional.one_hot(self.segment).double().T
        return hot / hot.sum(1, keepdim=True)

    @cached_property
    def plain(self) -> bool:
        """Whether all positions are alike: one segment an axis, one slot a unit."""
        return not self.ordinal.any() and not self.slots.any()

    @cached_property
    def count(self) -> int:
        """Units of all its axes."""
        return sum(self.counts)


@dataclass(frozen=True)
class Grouping:
    """How positions turn into `(groups, positions in a group)`, if they do.

    Args:
        shared: Parents that one side alone names.
        rank: On the naming side, the new place of each position; None on the other side, where every group has all.
    """

    shared: tuple[str, ...]
    rank: np.ndarray | None


@dataclass(frozen=True)
class _Part:
    """A segment laid out over the grouped positions: unit table `(positions, missing parents)`."""

    axis: str | None
    places: np.ndarray
    units: np.ndarray
    slots: np.ndarray
    ordered: bool


def make_side(graph: ParameterGraph, found: list[Segment], grouping: Grouping | None) -> Side:
    """Return the side that these segments make.

    Args:
        graph: Their graph.
        found: Segments of the dimension; together they hold every position.
        grouping: Where the units of a shared parent pair up with the other side's.
    """
    parts = [_part(graph, segment, grouping) for segment in found]
    axes = tuple(dict.fromkeys(part.axis for part in parts if part.axis is not None))
    counts = tuple(graph.count(axis) for axis in axes)
    start, total = dict(zip(axes, np.cumsum([0, *counts]).tolist(), strict=False)), sum(counts)
    back = np.argsort(np.concatenate([part.places for part in parts]))
    rows = _rows([(part.places, part.units + start[part.axis]) for part in parts if part.axis is not None])
    return Side(
        axes,
        counts,
        _positions(parts, start, total),
        any(part.axis is None for part in parts),
        torch.from_numpy(np.concatenate(_ordinals(parts))[back]),
        torch.cat([_slots(part) for part in parts])[torch.from_numpy(back)],
        mean_gather(rows.of_place, rows.place, length=len(back)),
        torch.from_numpy(rows.segment),
        mean_gather(np.arange(len(rows.unit)), rows.unit, length=total),
        mean_gather(rows.unit, np.arange(len(rows.unit)), length=len(rows.unit)),
    )


def _positions(parts: list[_Part], start: dict[str, int], total: int) -> Gather:
    """Position to units; positions without a unit take the row after the last unit."""
    units = [p.units + start[p.axis] if p.axis else np.full((len(p.places), 1), total) for p in parts]
    places = [np.repeat(p.places, u.shape[1]) for p, u in zip(parts, units, strict=True)]
    entries = np.concatenate([u.ravel() for u in units])
    return mean_gather(np.concatenate(places), entries, length=total + any(p.axis is None for p in parts))


def _part(graph: ParameterGraph, segment: Segment, grouping: Grouping | None) -> _Part:
    places, digits, slots = segment.positions, dict(segment.digits), segment.slots
    if grouping and grouping.rank is not None:
        places = grouping.rank[places]
    elif grouping:
        sizes = [graph.axes[name].size for name in grouping.shared]
        groups, n = np.arange(prod(sizes)), len(places)
        shared = dict(zip(grouping.shared, np.unravel_index(groups, sizes), strict=True))
        places = (groups[:, None] * n + places).ravel()
        digits = {name: np.tile(digit, len(groups)) for name, digit in digits.items()}
        digits |= {name: np.repeat(digit, n) for name, digit in shared.items()}
        slots = np.tile(slots, len(groups))
    line = graph.lineage(segment.axis) if segment.axis else ()
    return _Part(segment.axis, places, _units(graph, line, digits, len(places)), slots, segment.ordered(graph))


def _units(graph: ParameterGraph, line: tuple[str, ...], digits: dict[str, np.ndarray], n: int) -> np.ndarray:
    """Unit numbers `(positions, missing)`: parents that no position names run over all their units."""
    units = np.zeros((n, 1), np.int64)
    for name in line:
        size = graph.axes[name].size
        if name in digits:
            units = units * size + digits[name][:, None]
        else:
            units = (units[:, :, None] * size + np.arange(size)).reshape(n, -1)
    return units


@dataclass(frozen=True)
class _Rows:
    """Rows (a unit in a segment): the unit and segment of each, and each pair of a row and a place."""

    unit: np.ndarray
    segment: np.ndarray
    of_place: np.ndarray
    place: np.ndarray


def _rows(tables: list[tuple[np.ndarray, np.ndarray]]) -> _Rows:
    owners, numbers, places, start = [], [], [], 0
    for at, units in tables:
        owner, number = np.unique(units.ravel(), return_inverse=True)
        owners.append(owner)
        numbers.append(start + number.ravel())
        places.append(np.repeat(at, units.shape[1]))
        start += len(owner)
    segment = np.repeat(np.arange(len(owners)), [len(owner) for owner in owners])
    return _Rows(np.concatenate(owners), segment, np.concatenate(numbers), np.concatenate(places))


def _ordinals(parts: list[_Part]) -> list[np.ndarray]:
    seen: dict[str | None, int] = {}
    found = []
    for part in parts:
        found.append(np.full(len(part.places), min(seen.get(part.axis, 0), ORDINALS - 1)))
        seen[part.axis] = seen.get(part.axis, 0) + 1
    return found


def _slots(part: _Part) -> Tensor:
    count = int(part.slots.max()) + 1 if part.ordered and len(part.slots) else 1
    return slot_cosines(torch.from_numpy(part.slots), count, SLOT_CHANNELS)
