"""One order of the hidden units for all relabellings of a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.pieces import Cut, Piece, cut, lay, tensors_of
from weightspace.graph.symmetry.relabel import relabel

GRAINS = 2.0**30
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def canonicalise(checkpoint: Checkpoint, graph: ParameterGraph) -> Checkpoint:
    """Put every hidden axis in canonical order; the network computes the same function.

    Two relabellings of one network become equal bit for bit. The strongest unit comes first: the one with the
    largest share of the absolute weight of the blocks it sits on, added over the blocks, so that networks near to
    each other get orders near to each other. Units of equal strength are told apart by colour refinement on the bits
    of all weights. Everything is compared by sums of integers, which no order of the other units changes.

    Permutations alone are settled. Units are not rescaled, and no sign is turned: that changes bits, and which
    factors are free depends on activations that a file does not show (see `rescale`).

    Units that no refinement tells apart (copies of each other, say dead ones) follow in the order they had. Where
    they are interchangeable the result is the same bit for bit; where they are not, it is the same function.

    Args:
        checkpoint: The weights.
        graph: Of this checkpoint.

    Raises:
        GraphError: The graph does not fit the checkpoint.

    Source:
        Weisfeiler and Leman (1968), "The reduction of a graph to canonical form and the algebra which appears
        therein"; here units are the nodes, and weights colour what joins them.

    Example:
        >>> from weightspace.graph.axes import Axis, Block, Leaf
        >>> axes = {"x": Axis("x", 1, "input"), "h": Axis("h", 3, "hidden")}
        >>> graph = ParameterGraph(axes, {"w": Block("w", "linear", (Leaf("h"), Leaf("x")), "oi", 3)}, (), "infer")
        >>> canonicalise(Checkpoint({"w": torch.tensor([[1.0], [-3.0], [2.0]])}), graph).tensors["w"].tolist()
        [[-3.0], [2.0], [1.0]]
    """
    tensors = tensors_of(checkpoint, graph)
    whole = cut(graph).only(tensors)
    strength, colours = _strengths(whole, tensors), _Colours(whole, tensors).settled()
    found = {axis: np.lexsort((colours[axis], -strength[axis]), axis=-1) for axis in whole.above}
    return relabel(checkpoint, graph, _by_new_parents(whole, found))


def _strengths(whole: Cut, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Share of each unit in the absolute weight of each piece, added over the pieces; the same in any order."""
    found = {axis: np.zeros(whole.shape(axis)) for axis in whole.above}
    for piece in whole.pieces:
        size = np.nan_to_num(piece.of(_numbers(tensors[piece.block.tensor])))
        grains = np.rint(np.abs(size) * (GRAINS / (np.abs(size).max(initial=0.0) or 1.0))).astype(np.int64)
        for axis, dims in piece.units:
            found[axis] += _sum_onto(grains, dims) / max(int(grains.sum()), 1)
    return found


class _Colours:
    """A 64-bit colour for each unit, refined until no two units of an axis share one."""

    def __init__(self, whole: Cut, tensors: Mapping[str, Tensor]):
        self.whole, self.tensors = whole, tensors
        self.now = {axis: np.zeros(whole.shape(axis), np.uint64) for axis in whole.above}
        self.heard: dict[int, list[np.ndarray]] = {}

    def settled(self) -> dict[str, np.ndarray]:
        """Colours that differ within each axis: by content first, then by place where content is alike."""
        self._refine(set(self.now))
        for axis in self.now:
            if self._tied(axis):
                self._split(axis)
                self._refine({axis})
        return self.now

    def _refine(self, news: set[str]) -> None:
        """Let each unit hear the weights and colours around it, as long as that tells more units apart."""
        while news:
            tied = {axis for axis in self.now if self._tied(axis)}
            heard = [n for n, p in enumerate(self.whole.pieces) if p.axes & news and (p.axes & tied)]
            for n in heard:
                self.heard[n] = self._hear(n, self.whole.pieces[n])
            touched = {axis for n in heard for axis in self.whole.pieces[n].axes} & tied
            before = {axis: self._classes(axis) for axis in touched}
            self._recolour(touched)
            news = {axis for axis in touched if self._classes(axis) > before[axis]}

    def _recolour(self, axes: set[str]) -> None:
        total = {axis: self.now[axis].copy() for axis in axes}
        for n, sums in self.heard.items():
            for (axis, _), heard in zip(self.whole.pieces[n].units, sums, strict=True):
                if axis in axes:
                    total[axis] += heard
        self.now |= {axis: _mix(colour) for axis, colour in total.items()}

    def _hear(self, n: int, piece: Piece) -> list[np.ndarray]:
        """Return, for each `piece.units`, the sum over each unit's weights of a hash of weight and surroundings."""
        entries = piece.of(_bits(self.tensors[piece.block.tensor]))
        own = {dims[-1]: self.now[axis] for axis, dims in piece.units}
        where = {dims[-1]: dims for _, dims in piece.units}
        for d, size in enumerate(entries.shape):
            colour = own.get(d, np.arange(size, dtype=np.uint64))
            code = _mix(colour + _salt(n, d))
            entries = entries + lay(code, where.get(d, (d,)), entries.ndim)
        entries = _mix(entries)
        return [_mix(_sum_onto(entries, dims) + _salt(n, dims[-1])) for _, dims in piece.units]

    def _split(self, axis: str) -> None:
        """Give units of equal colour different ones, in the order in which they stand."""
        colours = self.now[axis].ravel()
        order = np.argsort(colours, kind="stable")
        first = np.searchsorted(colours[order], colours[order])
        colours[order] = _mix(colours[order] + np.arange(colours.size, dtype=np.uint64) - first.astype(np.uint64))
        self.now[axis] = colours.reshape(self.now[axis].shape)

    def _classes(self, axis: str) -> int:
        return int(np.unique(self.now[axis]).size)

    def _tied(self, axis: str) -> bool:
        return self._classes(axis) < self.now[axis].size


def _by_new_parents(whole: Cut, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn orders given for each old parent unit into orders for each new one."""
    orders: dict[str, np.ndarray] = {}
    for axis, order in found.items():
        parents = whole.graph.lineage(axis)[:-1]
        moved = whole.full(axis, order)
        old = []
        for k, name in enumerate(parents):
            here = orders.get(name, np.arange(whole.graph.axes[name].size).reshape((1,) * k + (-1,)))
            old.append(here.reshape(here.shape + (1,) * (len(parents) - here.ndim)))
        orders[axis] = moved[tuple(np.broadcast_arrays(*old))] if old else moved
    return orders


def _sum_onto(entries: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    """Sum over all dimensions but `dims`, which come in that order."""
    summed = entries.sum(axis=tuple(d for d in range(entries.ndim) if d not in dims), dtype=entries.dtype)
    return summed.transpose(np.argsort(np.argsort(dims)))


def _mix(x: np.ndarray) -> np.ndarray:
    """Scatter 64 bits one to one (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _salt(piece: int, dim: int) -> np.ndarray:
    return _mix(np.array([(piece << 8) + dim + 1], np.uint64))


def _bits(tensor: Tensor) -> np.ndarray:
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.contiguous().view(_WORDS[real.itemsize]).numpy().astype(np.uint64)


def _numbers(tensor: Tensor) -> np.ndarray:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double().numpy()
