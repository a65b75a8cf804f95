"""What can be said of a weight tensor without its wiring: moments, quantiles and the top of its spectrum."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.nn.tiles import grouped, row_tiles

ITERATIONS = 6
BINS = 1 << 16
SORTED = 1 << 14
EXACT = 1 << 22
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
RELATIVE, STATISTICS = 10, 15


def tensor_statistics(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, split: tuple[str, Tensor] | None = None
) -> tuple[Float[Tensor, "models statistics"], Float[Tensor, " models"]]:
    """Return features of a tensor that no reordering of its units changes, and its root mean square.

    The first `RELATIVE` also stay when every unit is doubled and what it feeds is halved: logarithms of the root mean
    square and of the deviation, both times the fan-in; mean, five quantiles (through asinh) and spectral norm over the
    root mean square; stable rank. Then what knows the size: logarithms of the Frobenius norm and of the sizes.

    Args:
        weight: Finite numbers, any float dtype.
        dtype: To compute in.
        split: Side that holds groups, and its positions; the spectral norm is then the largest of any group's.

    Source:
        Unterthiner et al. (2020), "Predicting neural network accuracy from weights" (mean, variance, quantiles 0,
        25, 50, 75, 100 of each tensor). Ours are relative to the tensor's scale, which is kept beside them.
    """
    count = math.prod(weight.shape[1:])
    mean = _sum(weight, dtype) / count
    square = _sum(weight, dtype, power=2) / count
    spread = _sum(weight, dtype, power=2, centre=mean) / count
    rms = square.sqrt()
    unit = torch.where(rms > 0, rms, torch.ones_like(rms))
    outs, ins = weight.shape[1], weight.shape[2] * weight.shape[3]
    top = (_top(weight, dtype, split) if min(outs, ins) > 1 else rms * math.sqrt(count)) / unit
    shape = (_quantiles(weight).to(dtype) / unit[:, None]).asinh()
    rank = torch.where(top > 0, count / top.clamp_min(1e-6) ** 2, torch.zeros_like(top))
    fan_in = weight.shape[2]
    relative = [
        _decades(rms * fan_in),
        _decades(spread.sqrt() * fan_in),
        mean / unit,
        *shape.unbind(1),
        top / math.sqrt(count),
        rank.log1p() / 2,
    ]
    sizes = [math.log2(n) / 4 for n in (*weight.shape[1:], count)]
    absolute = [_decades(rms * math.sqrt(count)), *(torch.full_like(rms, size) for size in sizes)]
    return torch.stack([*relative, *absolute], 1), rms


def _decades(x: Tensor) -> Tensor:
    """Base 10 logarithm, level below 1e-8."""
    return (x + 1e-8).log10()


def _sum(weight: Tensor, dtype: torch.dtype, *, power: int = 1, centre: Tensor | None = None) -> Tensor:
    shift = 0.0 if centre is None else centre[:, None, None, None]
    tiles = (((tile - shift) ** power).sum((1, 2, 3)) for _, tile in row_tiles(weight, dtype))
    return torch.stack(list(tiles)).sum(0)


def spectral_norm(weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype) -> Float[Tensor, " models"]:
    """Return the largest singular value of `(out, in * taps)` after a few power iterations, from below.

    The start is the columns' norms, which a reordering of units reorders alike, so the result never depends on it.
    """
    x = torch.stack([(tile**2).sum(1) for _, tile in row_tiles(weight, dtype)]).sum(0).flatten(1).sqrt()
    value = torch.zeros(len(weight), dtype=dtype, device=weight.device)
    for _ in range(ITERATIONS):
        x = x / x.norm(dim=1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
        y = torch.zeros_like(x)
        for _, tile in row_tiles(weight, dtype):
            matrix = tile.flatten(2)
            y = y + (matrix.transpose(1, 2) @ (matrix @ x[:, :, None])).squeeze(2)
        value = (x * y).sum(1).clamp_min(0).sqrt()
        x = y
    return value


def _top(weight: Tensor, dtype: torch.dtype, split: tuple[str, Tensor] | None) -> Tensor:
    if split is None:
        return spectral_norm(weight, dtype)
    groups = grouped(weight, *split, dim=1)
    return spectral_norm(groups.flatten(0, 1), dtype).unflatten(0, groups.shape[:2]).amax(1)


def _quantiles(weight: Tensor) -> Float[Tensor, "models quantiles"]:
    """Nearest-rank quantiles; of tensors beyond `EXACT` numbers the middle ones from a fine histogram."""
    count = math.prod(weight.shape[1:])
    ranks = [max(math.ceil(q * count) - 1, 0) for q in QUANTILES]
    if count <= EXACT:
        flat = weight.flatten(1)
        flat = flat if flat.dtype == torch.float64 else flat.float()
        if count <= SORTED:
            return flat.sort(1).values[:, ranks]
        return torch.stack([flat.kthvalue(rank + 1, dim=1).values for rank in ranks], 1)
    return torch.stack([_histogram_quantiles(model, ranks) for model in weight])


def _histogram_quantiles(weight: Tensor, ranks: list[int]) -> Tensor:
    tiles = [tile for _, tile in row_tiles(weight[None].detach(), weight.dtype)]
    low, high = min(float(t.min()) for t in tiles), max(float(t.max()) for t in tiles)
    counts = sum(torch.histc(tile.float(), BINS, low, high).double() for tile in tiles)
    at = torch.searchsorted(torch.cumsum(torch.as_tensor(counts), 0), torch.tensor(ranks, dtype=torch.float64) + 1)
    middle = low + (at.clamp(max=BINS - 1) + 0.5) * (high - low) / BINS
    return torch.tensor([low, *middle[1:-1].tolist(), high], device=weight.device)
