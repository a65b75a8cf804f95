"""Architectures that latents are decoded into while a decoder learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import torch
from torch import Generator, Tensor, nn

from weightspace.decode.target import Target
from weightspace.graph.trace.program import Program
from weightspace.zoo.architecture import family_program
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

WIDTHS = (8, 10, 16, 20, 32, 40, 64)
"""Of networks that decoders learn to make; others, such as 12 and 24, are left to ask for afterwards."""
ACTIVATIONS = ("relu", "tanh", "gelu")
LIGHT = 16_384
"""Weights up to which networks are decoded as many at once as asked for."""


@dataclass(frozen=True, eq=False)
class Into:
    """An architecture that latents are decoded into.

    Args:
        target: It.
        module: Runs it.
    """

    target: Target
    module: nn.Module

    @classmethod
    def of(cls, program: Program, module: nn.Module) -> Into:
        """Return the architecture of a program that a module runs."""
        return cls(Target.of(program), module.eval())

    @cached_property
    def together(self) -> float:
        """How many are decoded at once, of as many as are asked for: fewer where they are large."""
        weights = sum(prod(shape) for shape in self.target.shapes.values())
        return min(1.0, (LIGHT / weights) ** 0.5)


@dataclass(frozen=True)
class Choice:
    """A kind of architectures, and how often it is drawn.

    Args:
        family: Of the zoo.
        depths: To draw from.
        widths: To draw from.
        share: Of the draws.
    """

    family: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    share: float


IMAGES = (
    Choice("smallcnn", (3,), WIDTHS, 0.5),
    Choice("smallcnn", (4,), WIDTHS, 0.2),
    Choice("mlp", (1, 2), (32, 64, 128), 0.3),
)
ROWS = (Choice("mlp", (1, 2, 3), WIDTHS, 1.0),)


@dataclass(frozen=True)
class Menu:
    """Architectures for inputs and classes of one kind; each is built when it is drawn first.

    Args:
        signature: Inputs and classes.
        choices: What can be drawn.
        device: Where the modules lie.
    """

    signature: Signature
    choices: tuple[Choice, ...]
    device: str = "cpu"

    @classmethod
    def of(cls, signature: Signature, device: str = "cpu") -> Menu:
        """Return what decoders learn to make: small convolutional networks too where inputs are images large enough."""
        images = len(signature.inputs) == 3 and min(signature.inputs[1:]) >= 15
        return cls(signature, IMAGES if images else ROWS, device)

    def draw(self, generator: Generator) -> Into:
        """Return an architecture at random."""
        shares = torch.tensor([choice.share for choice in self.choices])
        choice = self.choices[int(torch.multinomial(shares, 1, generator=generator))]
        depth, width, activation = (
            values[int(torch.randint(len(values), (), generator=generator))]
            for values in (choice.depths, choice.widths, ACTIVATIONS)
        )
        return self.into(choice.family, {"width": width, "depth": depth, "activation": activation})

    def into(self, family: str, options: Mapping[str, Any]) -> Into:
        """Return one architecture."""
        signature = self.signature
        if family == "smallcnn":  # pools over all places: one for images of all sizes
            signature = Signature((signature.inputs[0], 32, 32), signature.outputs)
        return _into(family, tuple(sorted(options.items())), signature, self.device)


@lru_cache(maxsize=1024)
def _into(family: str, options: tuple[tuple[str, Any], ...], signature: Signature, device: str) -> Into:
    module = build_network(family, signature, dict(options))
    return Into.of(family_program(family, dict(options), signature), module.to(device))


def place(inputs: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return images in another size and number of channels, or as they are."""
    if tuple(inputs.shape[1:]) == shape or inputs.ndim != 4 or len(shape) != 3:
        return inputs
    sized = torch.nn.functional.interpolate(inputs, shape[1:], mode="bilinear", antialias=True)
    return sized if sized.shape[1] == shape[0] else sized.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
