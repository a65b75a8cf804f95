"""Low-frequency cosines of kernel taps and slots, so that kernels of all sizes share their channels."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

FREQUENCIES = tuple(f for f in product(range(3), repeat=3) if sum(f) <= 2)


@lru_cache(maxsize=256)
def kernel_cosines(kernel: tuple[int, ...]) -> tuple[list[int], Float[Tensor, "taps channels"]]:
    """Return the channels that a kernel of these sizes has, as indices of `FREQUENCIES`, and their cosines.

    Tap `t` of a dimension of size `k` stands at `(t + 1/2) / k`; frequency `f` is `sqrt(2) cos(pi f (t + 1/2) / k)`,
    and 1 for `f = 0`. All channels have mean square 1 over the taps, and a dimension has frequencies below its size.
    Dimensions beyond the third only count into the mean.

    Example:
        >>> kernel_cosines((1, 1))
        ([0], tensor([[1.]], dtype=torch.float64))
    """
    sizes = (*kernel[:3], *(1,) * (3 - len(kernel)))
    rest = math.prod(kernel[3:])
    channels = [i for i, f in enumerate(FREQUENCIES) if all(n < k for n, k in zip(f, sizes, strict=True))]
    columns = []
    for i in channels:
        waves = [_wave(n, k) for n, k in zip(FREQUENCIES[i], sizes, strict=True)]
        columns.append(torch.einsum("a,b,c->abc", *waves).flatten().repeat_interleave(rest))
    return channels, torch.stack(columns, 1) / math.prod(sizes) / rest


def _wave(frequency: int, size: int) -> Tensor:
    taps = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return torch.ones_like(taps) if frequency == 0 else math.sqrt(2) * torch.cos(math.pi * frequency * taps)


def slot_cosines(slots: Int[Tensor, " positions"], count: int, channels: int) -> Float[Tensor, "positions channels"]:
    """Cosines of the slots of a unit (pixels of a flattened map); zeros where there is one slot."""
    if count == 1:
        return torch.zeros(len(slots), channels, dtype=torch.float64)
    frequencies = torch.arange(1, channels + 1)
    waves = math.sqrt(2) * torch.cos(math.pi * frequencies * (slots[:, None] + 0.5) / count)
    return (waves * (frequencies < count)).double()


@lru_cache(maxsize=1024)
def depth_cosines(count: int, waves: int) -> Float[Tensor, "items waves"]:
    """Return `(count, waves)`: `cos(pi f (s + 1/2) / count)` for the frequencies below `count`, zeros for the rest.

    The columns that are not zero are orthogonal with mean square 1, so up to `waves` items are kept apart and longer
    lists are read at their low frequencies.

    Example:
        >>> depth_cosines(2, 3).round(decimals=3).tolist()
        [[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]]
    """
    places = (torch.arange(count, dtype=torch.float64)[:, None] + 0.5) / count
    frequencies = torch.arange(waves)
    scale = torch.where(frequencies == 0, 1.0, math.sqrt(2))
    return torch.where(frequencies < count, torch.cos(math.pi * frequencies * places) * scale, 0.0)


@lru_cache(maxsize=256)
def grid_cosines(sizes: tuple[int, ...], waves: int) -> Float[Tensor, "items waves"]:
    """Return products of `depth_cosines` over the dimensions of a grid, the first `waves` by rising frequency.

    Columns are orthogonal with mean square 1; those that the grid has not are zeros.

    Example:
        >>> grid_cosines((1, 2, 2), 5).round().tolist()[0]
        [1.0, 1.0, 1.0, 1.0, 0.0]
    """
    reach = [range(min(size, waves)) for size in sizes]
    frequencies = sorted(product(*reach), key=lambda f: (math.hypot(*f), f))[:waves]
    found = torch.zeros(math.prod(sizes), waves, dtype=torch.float64)
    for i, frequency in enumerate(frequencies):
        column = torch.ones(1, dtype=torch.float64)
        for f, size in zip(frequency, sizes, strict=True):
            column = (column[:, None] * depth_cosines(size, f + 1)[:, f]).flatten()
        found[:, i] = column
    return found


@lru_cache(maxsize=1024)
def index_codes(size: int, width: int) -> Float[Tensor, "units width"]:
    """Fixed sines and cosines of an index, for units whose order has a meaning."""
    index = torch.arange(size, dtype=torch.float64)[:, None]
    rates = 1000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    return torch.cat([torch.sin(index * rates), torch.cos(index * rates)], 1)


@lru_cache(maxsize=256)
def tap_cosines(kernel: tuple[int, ...], waves: int) -> Float[Tensor, "taps waves"]:
    """Return codes that tell all taps of a kernel apart: cosines and sines of each dimension, cut at `waves`.

    Dimensions of one tap say nothing; a kernel without taps has one row of zeros.
    """
    grid = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) / n for n in kernel), indexing="ij") if kernel else ()
    columns = [wave(math.pi * f * x.flatten()) for f in (1, 2) for x in grid for wave in (torch.cos, torch.sin)]
    found = torch.zeros(math.prod(kernel), waves, dtype=torch.float64)
    for i, column in enumerate(columns[:waves]):
        found[:, i] = column
    return found
