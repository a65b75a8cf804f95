"""Two checkpoints of one architecture side by side, unit by unit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ArchitectureError
from weightspace.graph.axes import leaves
from weightspace.graph.layout import Side, dimension_roles
from weightspace.inspect.behaviour import Behaviour, compare_behaviour
from weightspace.inspect.families import RELATED
from weightspace.inspect.peers import Orders, Peers, group_peers, moved_share, relative_distance
from weightspace.inspect.unit_weights import unit_weights

MOVED, NEW, DEAD, ALIKE, LARGE = 0.05, 0.5, 1e-6, 1e-3, 4096

State = Literal["kept", "moved", "new", "dead", "duplicate"]


@dataclass(frozen=True)
class UnitChange:
    """One unit of `b` and the unit of `a` that it matches.

    Args:
        axis: It belongs to.
        unit: Which one it is in `b`, counted over the whole network, parents major.
        was: Which one it is in `a`.
        change: Distance of the incoming weights over the geometric mean of their lengths.
        cosine: Of the incoming weights.
        growth: Length of those of `b` over that of `a`.
        state: `moved` by at least 5 %, `new` (cosine below one half), `dead` (nothing comes in or goes out in `b`, as
            it did in `a`), `duplicate` (the incoming weights of another unit of `b`, as was not so in `a`), or `kept`.
    """

    axis: str
    unit: int
    was: int
    change: float
    cosine: float
    growth: float
    state: State


@dataclass(frozen=True)
class BlockChange:
    """One weight tensor once units match.

    Args:
        tensor: Its name.
        change: Distance over the geometric mean of the two lengths.
        spectral: Distance of the sorted singular values over the length of those of `a`; None for vectors.
        norms: Spectral norms in `a` and in `b`; None for vectors.
    """

    tensor: str
    change: float
    spectral: float | None
    norms: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Difference:
    """What became of `a` in `b`.

    Args:
        a: Source of the first.
        b: Source of the second.
        distance: Of all weights once units match, relative to their size.
        unaligned: The same as they are stored.
        relabelled: Share of hidden units that stand elsewhere.
        units: All units that some block writes.
        blocks: All blocks but running statistics.
        behaviour: How alike the two answer, or why that is not known.
    """

    a: str
    b: str
    distance: float
    unaligned: float
    relabelled: float
    units: tuple[UnitChange, ...]
    blocks: tuple[BlockChange, ...]
    behaviour: Behaviour

    @property
    def changed(self) -> tuple[UnitChange, ...]:
        """Units that are not `kept`, those that changed most first."""
        return tuple(sorted((u for u in self.units if u.state != "kept"), key=lambda u: -u.change))

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.distance >= RELATED:
            return "no nearer than independent runs of one architecture: not each other's kin by their weights"
        counts = {state: sum(u.state == state for u in self.units) for state in ("moved", "new", "dead", "duplicate")}
        said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        return f"of {len(self.units)} units: {said}" if said else f"all {len(self.units)} units are kept"

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        return {
            **{name: getattr(self, name) for name in ("a", "b", "distance", "unaligned", "relabelled", "verdict")},
            "units": [asdict(unit) for unit in self.units],
            "blocks": [asdict(block) for block in self.blocks],
            "behaviour": asdict(self.behaviour),
        }


def diff(a: Checkpoint, b: Checkpoint) -> Difference:
    """Match the units of two checkpoints and say what each became.

    Args:
        a: The one before.
        b: The one after, with tensors of the same names and shapes.

    Raises:
        ArchitectureError: Names or shapes differ, or a number is not finite.
    """
    check_comparable(a, b)
    (peers,) = group_peers({"a": a, "b": b})
    before, after = peers.rows
    orders: Orders = {} if np.array_equal(before, after) else peers.orders(before, after)
    ours = peers.moved(before, orders)
    unaligned, distance = relative_distance(before, after), relative_distance(ours, after)
    if unaligned <= distance:
        orders, ours, distance = {}, before, unaligned
    return Difference(
        a.source,
        b.source,
        distance,
        unaligned,
        moved_share(orders),
        tuple(_units(peers, ours, after, orders)),
        tuple(_block(peers, name, ours, after) for name in peers.blocks),
        compare_behaviour(a, b),
    )


def check_comparable(a: Checkpoint, b: Checkpoint) -> None:
    """Make sure that two checkpoints have the same tensors and finite numbers.

    Raises:
        ArchitectureError: They have not.
    """
    shapes = [{name: tuple(info.shape) for name, info in c.header.tensors.items()} for c in (a, b)]
    if shapes[0] != shapes[1]:
        only = [sorted(set(shapes[i]) - set(shapes[1 - i])) for i in (0, 1)]
        other = sorted(n for n in shapes[0].keys() & shapes[1].keys() if shapes[0][n] != shapes[1][n])
        told = [
            f"{len(only[i])} tensors are in {c.source} only ({', '.join(only[i][:2])})" for i, c in enumerate((a, b))
        ]
        told = [text for text, names in zip(told, only, strict=True) if names]
        told += [f"{n} is {shapes[0][n]} in one and {shapes[1][n]} in the other" for n in other[:2]]
        raise ArchitectureError(
            f"{a.source} and {b.source} are of different architectures, so no unit of one matches one of the other: "
            f"{'; '.join(told)}. Compare their latents instead (weightspace embed)."
        )
    for checkpoint in (a, b):
        if checkpoint.non_finite:
            raise ArchitectureError(
                f"{checkpoint.source}: {', '.join(checkpoint.non_finite[:3])} hold numbers that are not finite, so "
                "distances say nothing. Compare an earlier checkpoint."
            )


def _units(peers: Peers, ours: np.ndarray, theirs: np.ndarray, orders: Orders) -> list[UnitChange]:
    into = [unit_weights(peers, row, Side.WRITTEN) for row in (ours, theirs)]
    out = [unit_weights(peers, row, Side.READ) for row in (ours, theirs)]
    found = []
    for axis in into[1]:
        p, c = into[0][axis], into[1][axis]
        sizes = [np.linalg.norm(side, axis=1) for side in (p, c)]
        scale = np.sqrt(sizes[0] * sizes[1])
        apart = np.linalg.norm(p - c, axis=1)
        change = np.divide(apart, scale, out=np.where(apart > 0, 1.0, 0.0), where=scale > 0)
        cosine = np.divide((p * c).sum(1), scale**2, out=np.ones_like(scale), where=scale > 0)
        growth = np.divide(sizes[1], sizes[0], out=np.ones_like(scale), where=sizes[0] > 0)
        died, twins = (test(c, out[1].get(axis)) & ~test(p, out[0].get(axis)) for test in (_dead, _duplicates))
        was = _was(peers, axis, orders)
        for n in range(len(c)):
            state: State = "new" if cosine[n] < NEW else "moved" if change[n] >= MOVED else "kept"
            state = "dead" if died[n] else "duplicate" if twins[n] else state
            numbers = (float(change[n]), float(cosine[n]), float(growth[n]))
            found.append(UnitChange(axis, n, int(was[n]), *numbers, state))
    return found


def _dead(into: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    dead = np.zeros(len(into), bool)
    for side in (into, out):
        if side is not None and len(side) == len(into):
            size = np.linalg.norm(side, axis=1)
            dead |= size <= DEAD * max(float(np.median(size)), float(size.max(initial=0.0)) * 1e-3)
    return dead


def _duplicates(into: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Units with the incoming weights of another; not asked of very wide axes, nor of zeros."""
    if not 1 < len(into) <= LARGE:
        return np.zeros(len(into), bool)
    square = np.square(into).sum(1)
    apart = square[:, None] + square[None] - 2 * into @ into.T
    np.fill_diagonal(apart, np.inf)
    return np.asarray((apart <= ALIKE**2 * square[:, None]).any(1) & (square > 0))


def _was(peers: Peers, axis: str, orders: Orders) -> np.ndarray:
    """Return which unit of `a` each unit is, counted over the whole network."""
    old, sizes = np.zeros((), np.int64), list[int]()
    for name in peers.graph.lineage(axis):
        size = peers.graph.axes[name].size
        order = np.asarray(orders.get(name, np.arange(size)))
        sizes.append(size)
        old = old[..., None] * size + np.broadcast_to(order, sizes)
    return old.ravel()


def _block(peers: Peers, name: str, ours: np.ndarray, theirs: np.ndarray) -> BlockChange:
    block, part = peers.blocks[name], peers.slices[name]
    p, c = ours[part], theirs[part]
    outs = dimension_roles(peers.graph, block)[0]
    reads = any(True for _ in leaves(block.in_axis)) if block.in_axis is not None else False
    shape = tuple(map(peers.graph.length, block.dims))
    if not reads or len(shape) < 2 or not outs:
        return BlockChange(name, relative_distance(p, c), None, None)
    high = int(np.prod([shape[d] for d in outs]))
    values = [
        np.linalg.svd(np.moveaxis(side.reshape(shape), outs, range(len(outs))).reshape(high, -1), compute_uv=False)
        for side in (p, c)
    ]
    size = float(np.linalg.norm(values[0]))
    spectral = float(np.linalg.norm(values[0] - values[1])) / size if size else 0.0
    return BlockChange(name, relative_distance(p, c), spectral, (float(values[0][0]), float(values[1][0])))
