"""What to multiply where, so that factors on the units of an axis leave the function as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Mode = Literal["positive", "sign"]
MODES: tuple[Mode, ...] = ("positive", "sign")


@dataclass(frozen=True)
class Scaling:
    """How factors on the units of one axis reach the stored tensors: each is multiplied by `factor ** power`.

    Args:
        powers: By tensor name: for each stored dimension, one power for each leaf of the axis in it, left to right
            (several for one leaf: the dimension is so many equal slices, one power each). Empty: no factors pass.
        stops: Where none pass, the operations that let none, in the order in which data flows.
    """

    powers: Mapping[str, tuple[tuple[float, ...], ...]]
    stops: tuple[str, ...] = ()
