"""What every prior promises, and how far a sample is from rows that it was not fitted to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor


@dataclass(frozen=True, eq=False)
class Points:
    """Places of networks and what is known of them.

    Args:
        places: In the coordinates of the prior.
        codes: Of their properties.
        owners: Which property each column of the codes belongs to.
    """

    places: Float[Tensor, "rows numbers"]
    codes: Float[Tensor, "rows columns"]
    owners: Int[Tensor, " columns"]

    def __len__(self) -> int:
        return len(self.places)


class LatentPrior(ABC):
    """A distribution over places given codes of properties. Subclasses are final."""

    guided = False
    """Whether `sample` can be told to follow the condition more than the data do."""

    @classmethod
    @abstractmethod
    def fit(cls, train: Points, held_out: Points, *, seed: int = 0) -> LatentPrior:
        """Return the prior of the training points; held-out ones choose sizes and when to stop."""

    @abstractmethod
    def sample(
        self,
        codes: Float[Tensor, "models columns"],
        known: Bool[Tensor, "models columns"],
        *,
        generator: Generator,
        guidance: float = 1.0,
        temperature: float = 1.0,
    ) -> Float[Tensor, "models numbers"]:
        """Draw one place for each row of codes, of which the columns that are not known do not count.

        Args:
            codes: What is asked for.
            known: Where something is asked for.
            generator: Of all that is drawn.
            guidance: How far the condition is followed, 1 as the data do; only a guided prior takes another.
            temperature: Deviation of the noise that a guided prior carries to places: above 1 newer, and further off.
        """

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return all numbers of the prior."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> LatentPrior:
        """Return the prior that `state` came from."""


def draw_masks(owners: Int[Tensor, " columns"], count: int, generator: Generator) -> Bool[Tensor, "masks columns"]:
    """Draw which properties are told: none in the first mask, all in the second, any number of them in the others."""
    properties = int(owners.max()) + 1 if len(owners) else 0
    told = torch.rand(count, properties, generator=generator) < torch.rand(count, 1, generator=generator)
    told[0], told[1 % count] = False, True
    return told[:, owners]


def energy_distance(a: Float[Tensor, "rows numbers"], b: Float[Tensor, "others numbers"]) -> float:
    """Return `2 E|a - b| - E|a - a'| - E|b - b'|`: 0 for samples of one distribution, else above.

    Source: Szekely and Rizzo (2013), "Energy statistics: a class of statistics based on distances".

    Example:
        >>> energy_distance(torch.zeros(2, 1), torch.ones(2, 1))
        2.0
    """
    apart = [torch.cdist(x, y).double() for x, y in ((a, b), (a, a), (b, b))]
    own = (
        m.sum() / max(1, n * (n - 1)) if i else m.mean()
        for i, (m, n) in enumerate(zip(apart, (0, len(a), len(b)), strict=True))
    )
    between, first, second = own
    return float(2 * between - first - second)
