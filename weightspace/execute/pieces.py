"""Work on many networks, cut into pieces that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from weightspace.execute.stack import run_stacked

T = TypeVar("T")
INPUTS, NUMBERS, BROAD = 500, 1 << 21, 32
"""Inputs answered at once, and their numbers times networks, about; `BROAD` times so many on an accelerator."""


def in_pieces(run: Callable[[slice], T], count: int, most: int) -> list[T]:
    """Return what is made of consecutive pieces, in their order.

    Where an accelerator runs out of memory, pieces are halved from there on, down to one.

    Args:
        run: Makes something of some of the things.
        count: How many things there are.
        most: So many at once, one at least.

    Raises:
        torch.OutOfMemoryError: One is too many.

    Example:
        >>> in_pieces(lambda some: (some.start, some.stop), 5, 2)
        [(0, 2), (2, 4), (4, 5)]
    """
    found: list[T] = []
    start, step = 0, max(1, most)
    while start < count:
        stop = min(start + step, count)
        try:
            found.append(run(slice(start, stop)))
            start = stop
            continue
        except torch.OutOfMemoryError:
            if stop - start == 1:
                raise
        step = (stop - start + 1) // 2  # here, so that nothing of what failed is held any more
        free_memory()
    return found


@torch.no_grad()
def run_in_pieces(
    module: nn.Module, stacked: Mapping[str, Tensor], inputs: Tensor, read: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return the outputs of many networks on many inputs, `(models, inputs, ...)`, run where the inputs lie.

    Args:
        module: Holds the architecture, as for `run_stacked`.
        stacked: Each tensor of the module by name, with a leading `models` axis, on any device.
        inputs: Shared by all networks.
        read: Makes of outputs, `(models, inputs, ...)` of some of both, what is kept of them.
    """
    device = inputs.device
    numbers = NUMBERS * (1 if device.type == "cpu" else BROAD)
    batches = inputs.split(INPUTS if device.type == "cpu" else INPUTS * BROAD)

    def run(some: slice) -> Tensor:
        weights = {name: tensor[some].to(device) for name, tensor in stacked.items()}
        told = (run_stacked(module, weights, batch) for batch in batches)
        return torch.cat([part if read is None else read(part) for part in told], 1)

    return torch.cat(in_pieces(run, len(next(iter(stacked.values()))), numbers // max(1, batches[0].numel())))


def free_memory() -> None:
    """Give back what the accelerator keeps of what failed."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
