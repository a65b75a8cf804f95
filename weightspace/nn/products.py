"""How products of weights with states are made: by whom, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weightspace.execute.processes import ALONE, Team

SUMS_WIDELY = "dtype" in torch.ops.aten.bmm.overloads()
"""Whether this PyTorch can sum products of short floats in single precision on an accelerator."""


@dataclass(frozen=True)
class Products:
    """A choice for one pass over a checkpoint.

    Args:
        team: Processes that share the tiles of each large block.
        dtype: Of the weights; None for that of the states, in which sums stay.
    """

    team: Team = ALONE
    dtype: torch.dtype | None = None


PLAIN = Products()


def times(large: Tensor, small: Tensor, *, turned: bool = False) -> Tensor:
    """Return `large @ small`, or the product with `large` turned, in the precision of the small factor.

    Weights in fewer digits are the same ones wherever a unit stands. States and sums are not rounded to so few: what
    is added up in another order would fall on the other side of a border here and there, which the stages behind
    magnify.

    Args:
        large: Weights, `(*lead, rows, columns)`.
        small: States, `(*lead, columns, width)`, or `(*lead, rows, width)` if turned; leading sizes broadcast.
        turned: Whether rows and columns of `large` change places.
    """
    if large.dtype != small.dtype:
        if large.is_cuda and SUMS_WIDELY and not torch.is_grad_enabled():
            return in_two_parts(large.mT if turned else large, small)
        large = large.to(small.dtype)
    return (small.mT @ large).mT if turned else large @ small  # quicker than turning the large factor


def in_two_parts(large: Tensor, small: Tensor) -> Tensor:
    """Return the product with a small factor that is what it is in the precision of the large one, and what is left."""
    lead = torch.broadcast_shapes(large.shape[:-2], small.shape[:-2])
    parts = small.new_empty((*small.shape[:-1], 2 * small.shape[-1]), dtype=large.dtype)
    high, low = parts.chunk(2, -1)
    torch.sub(small, high.copy_(small), out=low)
    stack, parts = (x.expand(*lead, -1, -1).flatten(0, -3) for x in (large, parts))
    told, rest = torch.bmm(stack, parts, out_dtype=torch.float32).unflatten(0, lead).chunk(2, -1)
    return (told + rest).to(small.dtype)
