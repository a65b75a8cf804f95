"""Units that do nothing, and units that do the same as another, read off the weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import Block, ParameterGraph
from weightspace.graph.layout import Segment, dimension_roles, segments
from weightspace.graph.symmetry.fit import fit_blocks

SKETCH, SAME, WINDOW = 24, 1e-5, 3
TILE = 1 << 22
"""Numbers kept of each unit's incoming weights; how far apart two may lie, of length 1, to count as equal; how many
strangers may stand between them in order of the first number; and weights that are held in double precision at once."""


@dataclass(frozen=True)
class UnitFindings:
    """What the weights tell of one hidden axis.

    Args:
        axis: Its name.
        units: How many it has.
        silent: Units with no incoming weight but zeros: they say the same whatever the input.
        unread: Units whose outgoing weights are all zero: nobody hears them.
        duplicates: Groups of units whose incoming weights and bias are equal up to a positive factor.
    """

    axis: str
    units: int
    silent: tuple[int, ...]
    unread: tuple[int, ...]
    duplicates: tuple[tuple[int, ...], ...]

    @property
    def dead(self) -> int:
        """How many units are silent or unread."""
        return len({*self.silent, *self.unread})

    @property
    def spare(self) -> int:
        """How many units could go if of each group of duplicates one stayed."""
        return sum(len(group) - 1 for group in self.duplicates)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return asdict(self)


@dataclass
class _Sums:
    """What is gathered of one axis, block by block."""

    incoming: np.ndarray
    outgoing: np.ndarray
    sketch: np.ndarray
    heard: set[str] = field(default_factory=set)
    parts: int = 0


def find_units(checkpoint: Checkpoint, graph: ParameterGraph) -> list[UnitFindings]:
    """Return dead and duplicate units of each hidden axis that a block with weights writes or reads.

    Duplicates are found by a random projection of the incoming weights (the same for all units), which keeps equal
    rows equal; that two others fall together has no chance in practice. No tensor is converted as a whole.

    Raises:
        GraphError: The graph is of another checkpoint.
    """
    sums: dict[str, _Sums] = {}
    for name, block in fit_blocks(checkpoint, graph).items():
        tensor = checkpoint.tensors[name].detach()
        if tensor.is_floating_point() and tensor.numel():
            _add_block(sums, graph, block, tensor)
    consumed = {axis for stage in graph.stages for axis in stage.reads}
    return [_judge(axis, found, unread=axis not in consumed) for axis, found in sums.items() if found.heard]


def _add_block(sums: dict[str, _Sums], graph: ParameterGraph, block: Block, tensor: Tensor) -> None:
    written, read, _ = dimension_roles(graph, block)
    bias = block.kind.endswith("bias") and not read
    if block.kind == "opaque" or not (read or bias):
        return
    for dims, side in ((written, "bias" if bias else "in"), (read, "out")):
        for d in dims:
            for segment in segments(graph, block.dims[d]):
                axis = segment.axis
                if axis and graph.axes[axis].role == "hidden" and set(graph.lineage(axis)) <= segment.digits.keys():
                    _add(sums, graph, segment, (side, tensor.movedim(d, 0)))


def _add(sums: dict[str, _Sums], graph: ParameterGraph, segment: Segment, part: tuple[str, Tensor]) -> None:
    """Add the squared lengths of a block's rows to their units, and the projections of those that come in."""
    side, rows = part
    rows = rows.flatten(1) if rows.ndim > 1 else rows[:, None]
    axis = str(segment.axis)
    count = graph.count(axis)
    found = sums.setdefault(axis, _Sums(np.zeros(count), np.zeros(count), np.zeros((count, SKETCH))))
    found.heard |= {side} - {"bias"}
    found.parts += 1
    draw = np.random.default_rng(found.parts)
    matrix = torch.from_numpy(draw.standard_normal((rows.shape[1], SKETCH)))
    turns = draw.standard_normal((int(segment.slots.max()) + 1, SKETCH))
    step = max(1, TILE // rows.shape[1])
    for start in range(0, len(segment.positions), step):
        here = slice(start, start + step)
        units = segment.units[here]
        tile = rows[torch.from_numpy(segment.positions[here])].double().nan_to_num(0.0, 0.0, 0.0)
        if side == "out":
            np.add.at(found.outgoing, units, tile.square().sum(1).numpy())
            continue
        if side == "in":
            np.add.at(found.incoming, units, tile.square().sum(1).numpy())
        np.add.at(found.sketch, units, (tile @ matrix).numpy() * turns[segment.slots[here]])


def _judge(axis: str, found: _Sums, *, unread: bool) -> UnitFindings:
    none = np.zeros(len(found.incoming), bool)
    silent = found.incoming == 0 if "in" in found.heard else none
    deaf = found.outgoing == 0 if "out" in found.heard and unread else none
    live = np.flatnonzero(~silent) if "in" in found.heard else np.zeros(0, int)
    groups = tuple(tuple(live[group].tolist()) for group in _equal_rows(found.sketch[live]))
    return UnitFindings(axis, len(none), _places(silent), _places(deaf), groups)


def _places(marks: np.ndarray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(marks).tolist())


def _equal_rows(sketch: np.ndarray) -> Iterator[np.ndarray]:
    """Yield groups of rows that point the same way."""
    length = np.linalg.norm(sketch, axis=1, keepdims=True)
    rows = sketch / np.where(length > 0, length, 1)
    order = rows[:, 0].argsort()
    head = np.arange(len(rows))  # the first row of each one's group, in this order
    for shift in range(1, WINDOW + 1):
        near = np.flatnonzero(np.linalg.norm(rows[order][shift:] - rows[order][:-shift], axis=1) < SAME)
        for i in near:
            head[head == head[i + shift]] = head[i]
    names, counts = np.unique(head, return_counts=True)
    for name in names[counts > 1]:
        yield np.sort(order[head == name])
