"""A stored tensor as a matrix, tile by tile: no more than one tile is ever held at the precision of the sweep."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 1 << 21


def as_matrix(weight: Tensor, order: tuple[int, ...], sizes: tuple[int, int, int]) -> Tensor:
    """Return `(models, out, in, taps)` from `(models, *stored)`; a view where the layout allows it."""
    return weight.permute(0, *(1 + d for d in order)).reshape(len(weight), *sizes)


def row_tiles(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, *, numbers: int = TILE
) -> Iterator[tuple[slice, Float[Tensor, "models rows ins taps"]]]:
    """Yield rows and their weights in `dtype`, at most about `numbers` numbers at once."""
    rows = max(1, numbers // max(1, weight[:, :1].numel()))
    for start in range(0, weight.shape[1], rows):
        yield slice(start, start + rows), weight[:, start : start + rows].to(dtype)


def grouped(weight: Tensor, side: str, index: Tensor, *, dim: int) -> Tensor:
    """Split dimension `dim` (`side` is `out`) or the one after it (`in`) by `index`, `(groups, positions)`.

    Returns `(..., groups, outs, ins, ...)`, the groups at `dim`.
    """
    index, at = index.to(weight.device), dim + (side == "in")
    flat = weight.index_select(at, index.flatten()).unflatten(at, index.shape)
    return flat if side == "out" else flat.transpose(dim, dim + 1)
