"""What an encoder says of one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float32
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Latent:
    """One checkpoint as numbers. Never changes once built.

    Args:
        vector: The network as a whole: the same for every relabelling of its hidden units.
        units: Axis to `(units, width)`; a relabelling of the units reorders the rows.
        stages: Stage to `(width,)`, in the order in which data flows.
        nonfinite: Weights that are NaN or infinite; they count as zero.
    """

    vector: Float32[Tensor, " latent"]
    units: Mapping[str, Tensor] = field(repr=False)
    stages: Mapping[str, Tensor] = field(repr=False)
    nonfinite: int = 0
