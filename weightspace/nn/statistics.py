"""What can be said of a weight tensor without its wiring: moments, quantiles and the top of its spectrum."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.nn.histogram import Histogram
from weightspace.nn.spectral import Sketch, as_rows, largest_of_groups, sketched_norm, spectral_norm
from weightspace.nn.tiles import cut_of, is_streamed, tiles

SORTED = 1 << 11
"""Numbers of a model beyond which numpy's vectorised sort is quicker than that of PyTorch."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
RELATIVE, STATISTICS = 10, 15


def tensor_statistics(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, split: tuple[str, Tensor] | None = None
) -> tuple[Float[Tensor, "models statistics"], Float[Tensor, " models"]]:
    """Return features of a tensor that no reordering of its units changes, and its root mean square.

    The first `RELATIVE` also stay when every unit is doubled and what it feeds is halved: logarithms of the root mean
    square and of the deviation, both times the fan-in; mean, five quantiles (through asinh) and spectral norm over the
    root mean square; stable rank. Then what knows the size: logarithms of the Frobenius norm and of the sizes.

    Of a tensor of more than a tile the quantiles come from a histogram and the spectral norm from `sketched_norm`.

    Args:
        weight: Any float dtype; what is not finite in it counts as zero where it is streamed.
        dtype: To compute in.
        split: Side that holds groups, and its positions; the spectral norm is then the largest of any group's.

    Source:
        Unterthiner et al. (2020), "Predicting neural network accuracy from weights" (mean, variance, quantiles 0,
        25, 50, 75, 100 of each tensor). Ours are relative to the tensor's scale, which is kept beside them.
    """
    streamed = is_streamed(weight) and not weight.requires_grad
    (mean, square, spread), shape, top = (_streamed if streamed else _whole)(weight, dtype, split)
    count = math.prod(weight.shape[1:])
    rms = square.sqrt()
    unit = torch.where(rms > 0, rms, torch.ones_like(rms))
    outs, ins = weight.shape[1], weight.shape[2] * weight.shape[3]
    top = (rms * math.sqrt(count) if min(outs, ins) == 1 else top) / unit
    shape = (shape / unit[:, None]).asinh()
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


def _whole(weight: Tensor, dtype: torch.dtype, split: tuple[str, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
    """Moments `(3, models)`, quantiles `(models, quantiles)` and spectral norm `(models,)`, in as many passes."""
    count = math.prod(weight.shape[1:])
    mean = _sum(weight, dtype) / count
    square = _sum(weight, dtype, power=2) / count
    spread = _sum(weight, dtype, power=2, centre=mean) / count
    top = spectral_norm(weight, dtype) if split is None else largest_of_groups(weight, dtype, split)
    return torch.stack([mean, square, spread]), _quantiles(weight).to(dtype), top


def _streamed(weight: Tensor, dtype: torch.dtype, split: tuple[str, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
    """The same of large tensors, in two passes over the numbers."""
    found = [_stream(model[None], dtype, split) for model in weight]
    moments, shape, top = (torch.stack(parts) for parts in zip(*found, strict=True))
    return moments.T, shape, top


def _stream(weight: Tensor, dtype: torch.dtype, split: tuple[str, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
    cut = cut_of(weight) if weight.shape[3] == 1 else 1
    histogram = Histogram(weight.dtype, weight.device)
    sketch = Sketch(weight[0].numel() // weight.shape[cut], weight.new_empty(0, dtype=dtype))
    for tile in tiles(weight, dtype, cut=cut):
        sums, finite = tile.settle(lambda found: as_rows(found, cut).sum(1))
        histogram.add(tile.stored, finite)
        sketch.add(as_rows(finite, cut), sums)
    top = largest_of_groups(weight, dtype, split)[0] if split else sketched_norm(weight, dtype, sketch, cut=cut)
    return sketch.moments(weight[0].numel()).to(dtype), histogram.quantiles(QUANTILES).to(dtype), top


def _sum(weight: Tensor, dtype: torch.dtype, *, power: int = 1, centre: Tensor | None = None) -> Tensor:
    shift = 0.0 if centre is None else centre[:, None, None, None]
    sums = (((tile.weight - shift) ** power).sum((1, 2, 3)) for tile in tiles(weight, dtype))
    return torch.stack(list(sums)).sum(0)


def _quantiles(weight: Tensor) -> Float[Tensor, "models quantiles"]:
    """Nearest-rank quantiles, exact."""
    count = math.prod(weight.shape[1:])
    ranks = [max(math.ceil(q * count) - 1, 0) for q in QUANTILES]
    flat = weight.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    if count > SORTED and flat.device.type == "cpu" and not flat.requires_grad:
        return torch.from_numpy(np.sort(flat.numpy(), axis=1)[:, ranks])
    return flat.sort(1).values[:, ranks]
