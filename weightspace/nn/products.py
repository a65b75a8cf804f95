"""How products of weights with states are made: by whom, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from weightspace.execute.processes import ALONE, Team


@dataclass(frozen=True)
class Products:
    """A choice for one pass over a checkpoint.

    Args:
        team: Processes that share the tiles of each large block.
        dtype: Of the factors; None for that of the states, in which sums over tiles stay.
    """

    team: Team = ALONE
    dtype: torch.dtype | None = None


PLAIN = Products()
