"""A stored tensor as a matrix, tile by tile: no more than one tile is ever held at the precision of the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.execute.processes import ALONE, Team
from weightspace.execute.threads import spare_threads
from weightspace.nn.pages import let_go

TILE = 1 << 18
"""Numbers of a tensor above which it is read tile by tile; no tile of a large tensor has more."""
CACHED = 1 << 20
"""Bytes of a tile of one large tensor, converted: about the cache of one core."""
STACK, BOARD = 1 << 21, 1 << 25
"""Numbers of a tile of many small tensors, and of any tile on an accelerator."""
KEPT = 1 << 16
DROPPED = 1 << 23
"""Bytes: smaller tensors are not let go; larger ones are let go in pieces of so many."""


_HALVED = ContextVar("halved", default=0)


@contextmanager
def halved(times: int) -> Iterator[None]:
    """Cut tiles of single tensors to half their numbers, so many times, within."""
    token = _HALVED.set(times)
    try:
        yield
    finally:
        _HALVED.reset(token)


def as_matrix(weight: Tensor, order: tuple[int, ...], sizes: tuple[int, int, int]) -> Tensor:
    """Return `(models, out, in, taps)` from `(models, *stored)`; a view where the layout allows it."""
    return weight.permute(0, *(1 + d for d in order)).reshape(len(weight), *sizes)


def is_streamed(weight: Tensor) -> bool:
    """Whether one model's tensor is more than a tile; what is not finite in it is then seen to by `Tile.settle`."""
    return weight[0].numel() > TILE


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a matrix: some of its rows and all columns, or the other way round.

    Args:
        outs: Which rows.
        ins: Which columns.
        stored: `(models, outs, ins, taps)` as it is kept.
        weight: The same in the precision of the sweep. Valid until the next tile where no gradient is recorded.
        checked: Whether the tensor is known to hold finite numbers alone.
    """

    outs: slice
    ins: slice
    stored: Tensor
    weight: Tensor
    checked: bool

    @property
    def copied(self) -> bool:
        """Whether the weights are a copy that may be written to."""
        return self.weight is not self.stored

    def settle(self, compute: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return what is computed from the weights, and the weights; with zeros for what is not finite in them.

        One bad number shows in any sum it is part of, so a look at the result, which is small, is enough.

        Args:
            compute: Sums over every row of the tile, or over every column.
        """
        found = compute(self.weight)
        if self.checked or isfinite(float(found.detach().sum())):
            return found, self.weight
        weight = self.weight.nan_to_num(0.0, 0.0, 0.0)
        return compute(weight), weight


def few_models(weight: Float[Tensor, "models outs ins taps"]) -> tuple[Tensor, ...]:
    """Return a stack of small tensors in parts of about a tile."""
    return weight.split(max(1, STACK // weight[0].numel()))


def cut_of(weight: Float[Tensor, "models outs ins taps"]) -> int:
    """Return the dimension, 1 or 2, to cut along so that a tile lies together in memory."""
    return 2 if weight.shape[2] > 1 and weight.stride(2) > weight.stride(1) else 1


def tiles(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, *, cut: int | None = None, team: Team = ALONE
) -> Iterator[Tile]:
    """Yield a matrix tile by tile, each once; let go of the mapped pages of what was read.

    Args:
        weight: Any float dtype; a view of a mapped file if it comes from one.
        dtype: To compute in.
        cut: Dimension to cut along, 1 or 2; None for the one that lies together in memory.
        team: Whose tiles alone are yielded, where several processes share the matrix.
    """
    cut = cut or cut_of(weight)
    length, line = weight.shape[cut], weight.numel() // weight.shape[cut]
    step, streamed = max(1, _numbers(weight, dtype) // line), is_streamed(weight)
    together = cut == cut_of(weight)
    copies = streamed and weight.dtype != dtype and not torch.is_grad_enabled()
    ready = _laid_out_like(weight.narrow(cut, 0, min(step, length)), dtype) if copies else None
    piece = max(step, DROPPED // (line * weight.element_size()) // step * step)
    starts, everything = team.part(range(0, length, step)), slice(None)
    done = starts.start
    for start in starts:
        part = weight.narrow(cut, start, min(step, length - start))
        where = slice(start, start + part.shape[cut])
        room = None if ready is None else ready.narrow(cut, 0, part.shape[cut])
        converted = _converted(part, dtype, room)
        outs, ins = (where, everything) if cut == 1 else (everything, where)
        yield Tile(outs, ins, part, converted, checked=not streamed)
        if (
            start == starts[-1] or (together and where.stop % piece == 0)
        ) and weight.numel() * weight.element_size() >= KEPT:
            let_go(weight.narrow(cut, done, where.stop - done))
            done = where.stop


def memory_order(tensor: Tensor) -> list[int]:
    """Return the dimensions in the order in which they lie in memory, the one of the largest stride first."""
    strides = tensor.stride()
    return sorted(range(tensor.ndim), key=lambda d: -strides[d])


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor piece by piece as it is stored, each once; let go of the mapped pages of what was read."""
    line = max(1, tensor.numel() // max(1, len(tensor))) if tensor.ndim else 1
    for piece in tensor.split(max(1, STACK // line)) if tensor.ndim else (tensor,):
        yield piece
        if piece.numel() * piece.element_size() >= KEPT:
            let_go(piece)


def shares(weight: Tensor, team: Team) -> list[Team]:
    """Return a team's share of the tiles of a matrix as one for each thread that is to spare, if they are many."""
    threads = spare_threads() if is_streamed(weight) and weight.device.type == "cpu" else 1
    return [Team(team.rank * threads + i, team.world * threads, team.device) for i in range(threads)]


def _numbers(weight: Tensor, dtype: torch.dtype) -> int:
    if weight.device.type != "cpu":
        return BOARD >> _HALVED.get()
    return min(TILE, CACHED // dtype.itemsize) >> _HALVED.get() if is_streamed(weight) else STACK


def _converted(part: Tensor, dtype: torch.dtype, room: Tensor | None) -> Tensor:
    """The tile in `dtype`, in the same order in memory; in the room if there is any."""
    return part.to(dtype) if room is None else room.copy_(part)


def _laid_out_like(part: Tensor, dtype: torch.dtype) -> Tensor:
    """Room for a tile in another precision, its dimensions in the same order in memory."""
    order = memory_order(part)
    room = part.new_empty([part.shape[d] for d in order], dtype=dtype)
    return room.permute([order.index(d) for d in range(part.ndim)])


def grouped(weight: Tensor, side: str, index: Tensor, *, dim: int) -> Tensor:
    """Split dimension `dim` (`side` is `out`) or the one after it (`in`) by `index`, `(groups, positions)`.

    Returns `(..., groups, outs, ins, ...)`, the groups at `dim`.
    """
    index, at = index.to(weight.device), dim + (side == "in")
    flat = weight.index_select(at, index.flatten()).unflatten(at, index.shape)
    return flat if side == "out" else flat.transpose(dim, dim + 1)


def group_tiles(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, split: tuple[str, Tensor]
) -> Iterator[tuple[slice, Float[Tensor, "models groups outs ins taps"]]]:
    """Yield whole groups, one or a few at a time."""
    side, index = split
    step, clean = max(1, _numbers(weight, dtype) * len(index) // weight.numel()), is_streamed(weight)
    for start in range(0, len(index), step):
        tile = grouped(weight, side, index[start : start + step], dim=1).to(dtype)
        yield slice(start, start + len(index[start : start + step])), tile.nan_to_num(0.0, 0.0, 0.0) if clean else tile
    if weight.numel() * weight.element_size() >= KEPT:
        let_go(weight)
