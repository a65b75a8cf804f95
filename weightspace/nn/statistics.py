"""What can be said of a weight tensor without its wiring: moments, quantiles and the top of its spectrum."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.nn.compiled import loopable
from weightspace.nn.constants import on
from weightspace.nn.energies import excess_of_groups, row_column_excess
from weightspace.nn.histogram import Histogram
from weightspace.nn.spectral import Sketch, as_rows, largest_of_groups, sketched_norm, spectral_norm
from weightspace.nn.tiles import cut_of, few_models, is_streamed, tiles

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
RELATIVE, EXCESSES, STATISTICS = 10, 2, 17
APART = slice(-2 - EXCESSES, -2)
"""Where measures tell the excesses of rows and of columns, see `row_column_excess`."""
Sizes = tuple[int, int, int]
"""Numbers of outputs, inputs and taps."""


def tensor_statistics(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, split: tuple[str, Tensor] | None = None
) -> tuple[Float[Tensor, "models statistics"], Float[Tensor, " models"]]:
    """Return features of a tensor that no reordering of its units changes, and its root mean square.

    See `measure` and `describe`, which take many tensors at once.
    """
    outs, ins, taps = weight.shape[1:]
    known, rms = describe(measure(weight, dtype, split)[:, None], ((outs, ins, taps),))
    return known[:, 0], rms[:, 0]


def measure(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, split: tuple[str, Tensor] | None = None
) -> Float[Tensor, "models measures"]:
    """Return mean, mean square, that about the mean, five quantiles, both `excess`es and spectral norm of a tensor.

    Last comes 1 where something in it may not be finite, and counted as zero; 0 where all is. Of a tensor of more than
    a tile the quantiles come from a histogram and the spectral norm from `sketched_norm`; smaller ones must be finite.

    Args:
        weight: Any float dtype; what is not finite in it counts as zero where it is streamed.
        dtype: To compute in.
        split: Side that holds groups, and its positions; the spectral norm is then the largest of any group's.
    """
    if is_streamed(weight) and not weight.requires_grad:
        return torch.stack([_stream(model[None], dtype, split) for model in weight])
    return torch.cat([_whole(part, dtype, split) for part in few_models(weight)])


def describe(
    measures: Float[Tensor, "models tensors measures"], shapes: tuple[Sizes, ...]
) -> tuple[Float[Tensor, "models tensors statistics"], Float[Tensor, "models tensors"]]:
    """Return features of tensors that were measured, and their root mean squares.

    The first `RELATIVE` also stay when every unit is doubled and what it feeds is halved: logarithms of the root mean
    square and of the deviation, both times the fan-in; mean, five quantiles (through asinh) and spectral norm over the
    root mean square; stable rank. Then what knows the size: logarithms of the Frobenius norm and of the sizes, and by
    how much rows and columns differ in energy more than if the numbers were shuffled.

    Source:
        Unterthiner et al. (2020), "Predicting neural network accuracy from weights" (mean, variance, quantiles 0,
        25, 50, 75, 100 of each tensor). Ours are relative to the tensor's scale, which is kept beside them.
    """
    fan_in, counts, roots, *logarithms = on(_sizes(shapes), measures)
    mean, square, spread = measures[..., :3].unbind(2)
    shape, apart, top = measures[..., 3 : 3 + len(QUANTILES)], measures[..., APART], measures[..., -2]
    rms = square.sqrt()
    unit = torch.where(rms > 0, rms, 1.0)
    top = top / unit
    rank = torch.where(top > 0, counts / top.clamp_min(1e-6) ** 2, 0.0)
    decades = (torch.stack([rms * fan_in, spread.sqrt() * fan_in, rms * roots], 2) + 1e-8).log10()
    relative = [decades[..., :2], (mean / unit)[..., None], (shape / unit[..., None]).asinh()]
    relative.append(torch.stack([top / roots, rank.log1p() / 2], 2))
    sizes = torch.stack(logarithms, 1).expand(len(rms), -1, -1)
    return torch.cat([*relative, decades[..., 2:], sizes, apart.asinh() / 2], 2), rms


@lru_cache(maxsize=1024)
def _sizes(shapes: tuple[Sizes, ...]) -> Float[Tensor, "seven tensors"]:
    """Fan-in, numbers, their square root; quarters of logarithms to base 2 of the sizes and of the numbers."""
    rows = []
    for shape in shapes:
        count = math.prod(shape)
        rows.append((shape[1], count, math.sqrt(count), *(math.log2(n) / 4 for n in (*shape, count))))
    return torch.tensor(rows, dtype=torch.float64).T


def _whole(weight: Tensor, dtype: torch.dtype, split: tuple[str, Tensor] | None) -> Float[Tensor, "models measures"]:
    """The measures of tensors that are small enough to be taken at once."""
    flat = weight.to(dtype).flatten(1)
    mean = flat.mean(1, keepdim=True)
    spread = torch.linalg.vector_norm(flat - mean, dim=1, keepdim=True).square() / flat.shape[1]
    square = spread + mean.square()
    if min(weight.shape[1], weight.shape[2] * weight.shape[3]) == 1:
        top = (square * flat.shape[1]).sqrt()
    elif split is None:
        top = spectral_norm(weight, dtype)[:, None]
    else:
        top = largest_of_groups(weight, dtype, split)[:, None]
    if split is None:
        squares = flat.square().view(weight.shape)
        sums = squares.sum((2, 3)), squares.sum((1, 3)), squares.square().sum((1, 2, 3))
        apart = row_column_excess(*sums, flat.shape[1])
    else:
        apart = excess_of_groups(weight, dtype, split)
    return torch.cat([mean, square, spread, _quantiles(weight).to(dtype), apart, top, torch.zeros_like(mean)], 1)


def _stream(weight: Tensor, dtype: torch.dtype, split: tuple[str, Tensor] | None) -> Float[Tensor, " measures"]:
    """The measures of one large tensor, in two passes over its numbers."""
    cut = cut_of(weight) if weight.shape[3] == 1 else 1
    histogram = Histogram(weight.dtype, weight.device)
    sketch, clean = Sketch(weight[0].numel() // weight.shape[cut], weight.new_empty(0, dtype=dtype)), True
    if (rows := loopable(weight, dtype, cut=cut)) is not None:
        histogram.close(sketch.survey(rows, histogram.counts))
    else:
        for tile in tiles(weight, dtype, cut=cut):
            sums, finite = tile.settle(lambda found: as_rows(found, cut).sum(1))
            histogram.add(tile.stored, finite)
            clean = clean and finite is tile.weight
            sketch.add(as_rows(finite, cut), sums)
    sketch.close()
    moments = sketch.moments(weight[0].numel())
    if min(weight.shape[1], weight.shape[2] * weight.shape[3]) == 1:
        top = (moments[1] * weight[0].numel()).sqrt().to(dtype)
    elif split:
        top = largest_of_groups(weight, dtype, split)[0].cpu()
    else:
        top = sketched_norm(weight, dtype, sketch, cut=cut)
    if split is None:
        apart = sketch.excess(weight.shape[3], transposed=cut == 2)
    else:
        apart = excess_of_groups(weight, dtype, split)[0].cpu()
    measures = moments.to(dtype), histogram.quantiles(QUANTILES).to(dtype), apart.to(dtype), top[None]
    flaw = torch.full((1,), float(not clean or histogram.lost > 0), dtype=dtype)
    return torch.cat([*measures, flaw]).to(weight.device)


def _quantiles(weight: Tensor) -> Float[Tensor, "models quantiles"]:
    """Nearest-rank quantiles, exact."""
    count = math.prod(weight.shape[1:])
    ranks = [max(math.ceil(q * count) - 1, 0) for q in QUANTILES]
    flat = weight.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    if flat.device.type == "cpu" and not flat.requires_grad:  # numpy's sort is vectorised
        return torch.from_numpy(np.sort(flat.numpy(), axis=1)[:, ranks])
    ordered = flat.sort(1).values
    return torch.stack([ordered[:, rank] for rank in ranks], 1)  # a list of places would be copied from the host
