"""Two checkpoints of one architecture side by side, one of them relabelled step by step towards the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from weightspace.graph.symmetry.pieces import Cut, Piece, Unit, lay

Orders = Mapping[str, np.ndarray]
LayOut = Callable[[np.ndarray, Piece, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Match:
    """Weights of both, in pieces; never changes, `step` returns another.

    Args:
        whole: The graph in pieces.
        ours: The relabelled checkpoint's weights, piece by piece.
        theirs: Those of the checkpoint it is matched to.
        labels: For each hidden axis, which unit each unit of `ours` was before the first step.
        products: Inner product of the two, piece by piece.
        scale: Largest inner product there could be, the product of the two lengths.
    """

    whole: Cut
    ours: tuple[np.ndarray, ...]
    theirs: tuple[np.ndarray, ...]
    labels: dict[str, np.ndarray]
    products: tuple[float, ...]
    scale: float

    @classmethod
    def of(cls, a: Mapping[str, Tensor], b: Mapping[str, Tensor], whole: Cut) -> Match:
        """Lay two checkpoints side by side as they are labelled; numbers that are not finite count as zero."""
        ours, theirs = (tuple(p.of(_numbers(side[p.block.tensor])) for p in whole.pieces) for side in (a, b))
        shapes = {axis: whole.shape(axis) for axis in whole.above}
        labels = {axis: np.broadcast_to(np.arange(shape[-1]), shape) for axis, shape in shapes.items()}
        lengths = [sum(float(np.vdot(x, x)) for x in side) for side in (ours, theirs)]
        products = tuple(float(np.vdot(x, y)) for x, y in zip(ours, theirs, strict=True))
        return cls(whole, ours, theirs, labels, products, prod(lengths) ** 0.5)

    @property
    def value(self) -> float:
        """Inner product of the two; the higher, the smaller their distance."""
        return sum(self.products)

    def children(self, axis: str) -> list[str]:
        """Axes of more than one unit that live in each unit of `axis`."""
        above, axes = self.whole.above, self.whole.graph.axes
        return [name for name, line in above.items() if line[-1:] == (axis,) and axes[name].size > 1]

    def step(self, orders: Orders) -> Match:
        """Relabel `ours`; orders are in the shapes of `Cut.shape`, parents first, by new parent units."""
        ours, products = list(self.ours), list(self.products)
        for n, piece in enumerate(self.whole.pieces):
            if piece.axes & orders.keys():
                ours[n] = _moved(ours[n], piece.units, orders)
                products[n] = float(np.vdot(ours[n], self.theirs[n]))
        labels = {axis: _moved(label, self._units(axis), orders) for axis, label in self.labels.items()}
        return replace(self, ours=tuple(ours), products=tuple(products), labels=labels)

    def _units(self, axis: str) -> list[Unit]:
        """What `Piece.units` is for the labels of `axis`."""
        above, line = self.whole.above, (*self.whole.above[axis], axis)
        return [(name, (*map(line.index, above[name]), k)) for k, name in enumerate(line) if name in above]

    def by_profile(self, axis: str) -> Orders:
        """Match units by their weights sorted along all other hidden axes, whose order need not be known."""
        return {axis: _assign(self._gains(axis, set(), _profile))}

    def by_weights(self, axis: str) -> Orders:
        """Match units by their weights with all other axes as they are, and the axes within them alike.

        Each pair of parent units is worth what the best matching of its children is worth, by the pieces that hold
        no other children.
        """
        children = self.children(axis)
        gains = self._gains(axis, set(children), _flat)
        inner = {}
        for child in children:
            pairs = self._pair_gains(axis, child, set(children) - {child})
            inner[child] = _assign(pairs)
            gains = gains + np.take_along_axis(pairs, inner[child][..., None, :], -2).sum((-1, -2))
        order = _assign(gains)
        pick = order[..., None, :, None]
        return {axis: order} | {c: np.take_along_axis(o, pick, -3).squeeze(-3) for c, o in inner.items()}

    def _gains(self, axis: str, without: set[str], lay_out: LayOut) -> np.ndarray:
        """Inner products `(*parents, ours, theirs)` of the units of `axis`, added over pieces `without` these axes."""
        shape = self.whole.shape(axis)
        total = np.zeros((*shape, shape[-1]))
        for n, piece in enumerate(self.whole.pieces):
            for dims in [dims for name, dims in piece.units if name == axis and not piece.axes & without]:
                ours, theirs = (lay_out(side[n], piece, dims) for side in (self.ours, self.theirs))
                total += ours @ theirs.swapaxes(-1, -2)
        return total

    def _pair_gains(self, axis: str, child: str, others: set[str]) -> np.ndarray:
        """Inner products `(*parents, ours of axis, theirs of axis, ours of child, theirs of child)`."""
        *parents, size, inside = self.whole.shape(child)
        total = np.zeros((*parents, size, size, inside, inside))
        for n, piece in enumerate(self.whole.pieces):
            units = [dims for name, dims in piece.units if name == child]
            if len(units) == 1 and not piece.axes & others:
                ours, theirs = (_flat(side[n], piece, units[0]) for side in (self.ours, self.theirs))
                flat = [side.reshape(*parents, size * inside, -1) for side in (ours, theirs)]
                found = (flat[0] @ flat[1].swapaxes(-1, -2)).reshape(*parents, size, inside, size, inside)
                total += found.swapaxes(-3, -2)
        return total


def _flat(numbers: np.ndarray, piece: Piece, dims: tuple[int, ...]) -> np.ndarray:
    """Return `(*units, the rest)`, the rest in its order."""
    front = np.moveaxis(numbers, dims, range(len(dims)))
    return front.reshape(*front.shape[: len(dims)], -1)


def _profile(numbers: np.ndarray, piece: Piece, dims: tuple[int, ...]) -> np.ndarray:
    """Return `(*units, the rest)`, sorted along all hidden axes but those of the units."""
    free = [own[-1] for _, own in piece.units if own[-1] not in dims]
    fixed = [d for d in range(numbers.ndim) if d not in free and d not in dims]
    moved = numbers.transpose(*dims, *fixed, *free)
    kept = moved.shape[: len(dims) + len(fixed)]
    return np.sort(moved.reshape(*kept, -1), -1).reshape(*kept[: len(dims)], -1)


def _moved(numbers: np.ndarray, units: Collection[Unit], orders: Orders) -> np.ndarray:
    for axis, order in orders.items():
        for name, dims in units:
            if name == axis and order.ndim == 1:
                numbers = numbers.take(order, axis=dims[0])
            elif name == axis:
                numbers = np.take_along_axis(numbers, lay(order, dims, numbers.ndim), dims[-1])
    return numbers


def _assign(gains: np.ndarray) -> np.ndarray:
    """Return, for each matrix `(ours, theirs)`, which of ours each of theirs gets so that the gains are highest."""
    flat = gains.reshape(-1, *gains.shape[-2:])
    found = np.empty(flat.shape[:2], np.int64)
    for k, matrix in enumerate(flat):
        found[k] = linear_sum_assignment(matrix.T, maximize=True)[1]
    return found.reshape(gains.shape[:-1])


def _numbers(tensor: Tensor) -> np.ndarray:
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return np.nan_to_num(real.double().numpy(), posinf=0.0, neginf=0.0)
