"""What a network must fit: the shape of one input and how many numbers come out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signature:
    """Shape of one input, and outputs.

    Args:
        inputs: Of one example, without the batch: `(1, 28, 28)`, `(13,)`, `(64,)` characters.
        outputs: Classes, characters, channels or actions.
    """

    inputs: tuple[int, ...]
    outputs: int
