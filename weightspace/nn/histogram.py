"""Quantiles of more numbers than one wants to sort, in one pass, from counts of their leading bits."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightspace.nn.compiled import Told
from weightspace.nn.tiles import memory_order

CODES = 1 << 16
SHORT = (torch.bfloat16, torch.float16)
PIECE = 1 << 20
"""Numbers that are counted at once: to add up the counts of all codes costs as much as to count some ten thousand."""
COPIES = 16
"""Counts of each code that an accelerator keeps apart: most numbers share a few codes, which would wait in line."""


class Histogram:
    """Counts of one tensor's numbers by their leading sixteen bits, filled tile by tile.

    Exact for float16 and bfloat16, which have no more bits, and for float32 that was bfloat16 before. Of other numbers
    those of float32 are counted, and what shares its leading bits is taken as evenly spread; the smallest and the
    largest are exact. Counts never depend on the order. What is not finite counts as zero; `lost` is how many of the
    codes that were counted are of such, known with the quantiles.

    Args:
        dtype: In which the tensor is stored.
        device: Where.

    Example:
        >>> halves = torch.tensor([0.5, -2.0, 1.5, 0.0]).half()
        >>> histogram = Histogram(torch.float16, halves.device)
        >>> histogram.add(halves, halves.double())
        >>> histogram.quantiles((0.0, 0.75)).tolist()
        [-2.0, 0.5]
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.short, self.exact, self.lost = dtype in SHORT, True, 0
        self.values, self.order = _codes(dtype if self.short else torch.bfloat16)
        self.copies = 1 if device.type == "cpu" else COPIES
        self.counts = torch.zeros(CODES, dtype=torch.int64, device=device)
        self.ends = [torch.full((), -torch.inf, dtype=torch.float64, device=device) for _ in range(2)]
        self.waiting, self.filled = torch.empty(0, dtype=torch.int32, device=device), 0

    def add(self, stored: Tensor, weight: Tensor) -> None:
        """Count a tile of one model, given as it is stored and as finite numbers that may be wider."""
        codes = self._room(weight.numel())
        if self.short:
            codes.copy_(_flat(stored).view(torch.uint16))
            return
        bits = _flat(weight).float().view(torch.int32)
        self.exact = self.exact and not bool((bits & (CODES - 1)).any())
        torch.bitwise_right_shift(bits, 16, out=codes).bitwise_and_(CODES - 1)
        low, high = weight.aminmax()
        self.ends = [torch.maximum(end, new.double()) for end, new in zip(self.ends, (-low, high), strict=True)]

    def close(self, told: Told) -> None:
        """Take in what a survey told that counted all numbers."""
        self.exact = told.left == 0
        self.ends = [torch.tensor(end, dtype=torch.float64) for end in (-told.low, told.high)]

    def quantiles(self, shares: tuple[float, ...]) -> Float64[Tensor, " shares"]:
        """Return the nearest-rank quantiles, on the CPU."""
        self._count()
        order = self.order
        counts = self._finite()
        upto = counts[order].cumsum(0)
        ranks = torch.tensor([max(ceil(share * int(upto[-1])) - 1, 0) for share in shares])
        at = torch.searchsorted(upto, ranks + 1)
        codes = order[at]
        if self.exact:  # every number is its code's: of a type of 16 bits, or widened from bfloat16
            return self.values[codes]
        inside = (ranks + 0.5 - upto[at] + counts[codes]).double() / counts[codes]
        start, end = self.values[codes], self.values[(codes + 1).clamp_max(CODES - 1)].nan_to_num()
        found = torch.lerp(start, end, torch.where(codes < CODES // 2, inside, 1 - inside))
        low, high = -self.ends[0].cpu(), self.ends[1].cpu()
        extremes = torch.where(ranks == 0, low, torch.where(ranks == upto[-1] - 1, high, found))
        return extremes.clamp(low, high)

    def _room(self, numbers: int) -> Tensor:
        """Where the codes of some numbers are to be written."""
        if self.filled + numbers > len(self.waiting):
            self._count()
        if numbers > len(self.waiting):
            self.waiting = self.waiting.new_empty(max(PIECE, numbers))
        self.filled += numbers
        return self.waiting[self.filled - numbers : self.filled]

    def _count(self) -> None:
        codes = self.waiting[: self.filled]
        if self.copies > 1:
            codes = codes + torch.arange(self.filled, dtype=torch.int32, device=codes.device) % self.copies * CODES
        self.counts += torch.bincount(codes, minlength=self.copies * CODES).view(self.copies, CODES).sum(0)
        self.filled = 0

    def _finite(self) -> Tensor:
        """Counts with those of what is not finite added to those of zero."""
        counts = self.counts.cpu()
        finite = torch.where(self.values.isfinite(), counts, 0)
        self.lost = int(counts.sum() - finite.sum())
        finite[0] += self.lost
        return finite


def _flat(tile: Tensor) -> Tensor:
    """All numbers in the order in which they lie in memory."""
    return tile.detach().permute(memory_order(tile)).reshape(-1)


@lru_cache
def _codes(dtype: torch.dtype) -> tuple[Float64[Tensor, " codes"], Int64[Tensor, " codes"]]:
    """The number of each bit pattern, and the patterns in the order of their numbers."""
    values = torch.arange(CODES, dtype=torch.int32).to(torch.int16).view(dtype).double()
    return values, values.nan_to_num(0.0, 0.0, 0.0).argsort(stable=True)
