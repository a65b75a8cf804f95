"""Work on many networks, cut into pieces that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


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


def free_memory() -> None:
    """Give back what the accelerator keeps of what failed."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
