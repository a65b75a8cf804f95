"""Read-outs of properties from vectors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.encode.properties import PROPERTIES
from weightspace.nn.seeded import draw


class PropertyHeads(nn.Module):
    """Each property from what the weights say and from what the answers say, apart.

    Read together, what learns faster (weights, by heart) keeps the other from learning at all. Each property is read
    twice: by one matrix, so that it is written in plain sight, and by two layers.

    Args:
        numbers: Of a vector, of its weights and of its answers; the latter may be 0.
        classes: Names of each property of names.
        hidden: Width of the layer between.
        generator: Draws the weights.
    """

    def __init__(
        self,
        numbers: tuple[int, int],
        classes: Mapping[str, list[str]],
        *,
        hidden: int = 256,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.widths = {
            n: len(classes[n]) if n in classes else 1 for n, p in PROPERTIES.items() if not p.classes or n in classes
        }
        outputs, self.numbers = sum(self.widths.values()), [n for n in numbers if n]
        self.heads = nn.ModuleList(_Heads(n, hidden, outputs, generator=generator) for n in self.numbers)

    def forward(self, vector: Tensor) -> dict[str, Tensor]:
        """Return `(estimates, models, width)` by property: of the matrix and of the layers, for weights and answers.

        Networks that were not run are told by their weights in the place of their answers.
        """
        parts = vector.split(self.numbers, 1)
        told = [head(part) for head, part in zip(self.heads, parts, strict=True)]
        if len(told) > 1:
            run = (parts[1] != 0).any(1)[:, None]
            told[1] = torch.where(run, told[1], told[0])
        return dict(zip(self.widths, torch.cat(told).split(list(self.widths.values()), 2), strict=True))


class _Heads(nn.Module):
    def __init__(self, numbers: int, hidden: int, outputs: int, *, generator: Generator) -> None:
        super().__init__()
        self.linear = draw(numbers, outputs, generator=generator)
        self.first = draw(numbers, hidden, generator=generator)
        self.second = draw(hidden, outputs, generator=generator)
        self.offset = nn.Parameter(torch.zeros(2, 1, outputs))

    def forward(self, numbers: Tensor) -> Float[Tensor, "two models outputs"]:
        plain, deep = numbers @ self.linear, silu(numbers @ self.first) @ self.second
        return torch.stack([plain, deep]) + self.offset
