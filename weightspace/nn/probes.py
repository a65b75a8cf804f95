"""Learned inputs for networks of every input size, and what is read off their answers."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import silu

from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.seeded import draw

CLASSES = 16
"""Cosines over the outputs: answers of up to so many outputs are told apart in full."""
BANKS = {"image": (12, 12), "row": (64,)}
"""Cosines a dimension, for inputs with channels and pixels, and for rows of numbers or coordinates."""
COLOURS = 3
RANKS = (1, 3)
"""Dimensions that an input may have, without the batch."""


class ProbeBank(nn.Module):
    """A few learned inputs, sums of low-frequency cosines over an input's places, so that they fit every size.

    `x[p, c, i, j] = sum_fg A[p, c, f, g] cos_f(i) cos_g(j)`. Channels beyond the third start again at the first. They
    start smooth: amplitudes fall as `1 / (1 + f + g)`, and each probe has mean square one at full resolution.

    Args:
        probes: How many.
        generator: Draws the amplitudes.

    Source:
        Kahana, Horwitz, Shomron, Hoshen (2024), "Deep linear probe generators for weight space learning": structured
        probes beat free pixels. Ours are structured by cosines instead of a linear generator.
    """

    def __init__(self, probes: int, *, generator: Generator) -> None:
        super().__init__()
        self.image = nn.Parameter(_amplitudes(probes, COLOURS, BANKS["image"], generator))
        self.row = nn.Parameter(_amplitudes(probes, 1, BANKS["row"], generator))

    def forward(self, shape: tuple[int, ...]) -> Float[Tensor, "probes ..."]:
        """Return the probes for inputs of this shape, without the batch: `(channels, height, width)` or `(numbers,)`.

        Raises:
            ValueError: Inputs of another rank.
        """
        if len(shape) == 3:
            rows, columns = (
                on(depth_cosines(n, k), self.image) for n, k in zip(shape[1:], BANKS["image"], strict=True)
            )
            colours = self.image[:, [c % COLOURS for c in range(shape[0])]]
            return torch.einsum("pcfg,if,jg->pcij", colours, rows, columns)
        if len(shape) == 1:
            return self.row[:, 0] @ on(depth_cosines(shape[0], BANKS["row"][0]), self.row).T
        raise ValueError(f"probes are images or rows of numbers, not inputs of shape {shape}")


def _amplitudes(probes: int, channels: int, waves: tuple[int, ...], generator: Generator) -> Tensor:
    where = torch.meshgrid(*(torch.arange(n) for n in waves), indexing="ij")
    falling = 1 / (1 + torch.stack(where).sum(0))
    return torch.randn(probes, channels, *waves, generator=generator) * falling / falling.square().sum().sqrt()


class ProbeReadout(nn.Module):
    """Answers to the probes as features of a network and as states of its output units.

    The order of outputs has a meaning (classes), so answers are projected on cosines over the outputs. Answers pass
    `asinh` first: logits of any size stay comparable.

    Args:
        probes: How many.
        width: Of a unit's state.
        features: Of a network.
        generator: Draws the parameters.
    """

    def __init__(self, probes: int, width: int, features: int, *, generator: Generator) -> None:
        super().__init__()
        self.unit = draw(probes, width, generator=generator)
        self.first = draw(probes * CLASSES, 2 * features, generator=generator)
        self.second = draw(2 * features, features, generator=generator, scale=features**-0.5)
        self.absent = draw(1, features, generator=generator, scale=0.5)

    def states(self, answers: Float[Tensor, "models probes outputs"]) -> Float[Tensor, "models outputs width"]:
        """Return what each output unit answers, as a state."""
        return answers.asinh().transpose(1, 2) @ self.unit

    def forward(self, answers: Float[Tensor, "models probes outputs"]) -> Float[Tensor, "models features"]:
        """Return features of the networks."""
        outputs = answers.shape[2]
        codes = on(depth_cosines(outputs, CLASSES), answers) * math.sqrt(CLASSES / min(outputs, CLASSES)) / outputs
        told = (answers.asinh() @ codes).flatten(1)
        return silu(told @ self.first) @ self.second
