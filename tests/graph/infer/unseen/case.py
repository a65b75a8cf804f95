"""What a network that inference was not developed on is: a module to build, twice, and inputs to run it on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Unseen:
    """One architecture, as a user's own code would name it.

    Args:
        build: `build(**sizes)` returns the module.
        inputs: Draws positional arguments, floats in float64.
        sizes: Another set of sizes, without the coincidences of the default ones or with others.
    """

    build: Callable[..., nn.Module]
    inputs: Callable[[Generator], tuple[Tensor, ...]]
    sizes: Mapping[str, int] = field(default_factory=dict)


def floats(*shapes: tuple[int, ...]) -> Callable[[Generator], tuple[Tensor, ...]]:
    return lambda g: tuple(torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes)


def tokens(vocab: int, *shapes: tuple[int, ...]) -> Callable[[Generator], tuple[Tensor, ...]]:
    return lambda g: tuple(torch.randint(vocab, shape, generator=g) for shape in shapes)
