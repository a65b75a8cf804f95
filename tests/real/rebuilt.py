"""What a rebuilt network is: a pure function of a checkpoint's own tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Generator, Tensor

Weights = Mapping[str, Tensor]
Draw = Callable[[Weights, Generator], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Rebuilt:
    """One original network, for all checkpoints whose id matches.

    Args:
        match: Pattern of checkpoint ids.
        forward: `forward(weights, *inputs)` computes the outputs, by the checkpoint's own tensor names.
        inputs: Draws inputs that fit the weights.
        unused: Patterns of tensor names that no output depends on, each with the reason in `why`.
        why: Reason for `unused`.
        assumed: What the file and its source do not tell, and what was chosen; never the wiring.
    """

    match: str
    forward: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Draw
    unused: tuple[str, ...] = ()
    why: str = ""
    assumed: str = ""

    def fits(self, name: str) -> bool:
        return fnmatchcase(name, self.match)

    def is_unused(self, tensor: str) -> bool:
        return any(fnmatchcase(tensor, pattern) for pattern in self.unused)


def normal(*shapes: tuple[int, ...], scale: float = 1.0) -> Draw:
    """Inputs of these shapes, normal with this standard deviation."""

    def draw(weights: Weights, generator: Generator) -> tuple[Tensor, ...]:
        return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) * scale for shape in shapes)

    return draw


def rows(weight: str, *, batch: int = 3) -> Draw:
    """Vectors as long as `weight` (out, in) reads them."""

    def draw(weights: Weights, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(batch, weights[weight].shape[1], generator=generator, dtype=torch.float64),)

    return draw


def tokens(shape: tuple[int, ...], *tables: str) -> Draw:
    """For each embedding table, numbers of its rows."""

    def draw(weights: Weights, generator: Generator) -> tuple[Tensor, ...]:
        return tuple(torch.randint(len(weights[table]), shape, generator=generator) for table in tables)

    return draw
