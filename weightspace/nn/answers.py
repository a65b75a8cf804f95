"""What is read off the answers of networks to inputs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import dropout, silu

from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.seeded import draw

CLASSES = 16
"""Cosines over the outputs: answers of up to so many outputs are told apart in full."""
LEAST, UNLIKELY = 1e-3, -8.0
DROPPED = 0.2
"""Share of what is read that training does without."""


class AnswerMap(nn.Module):
    """Answers to the probes as numbers of a network, by one matrix: what a network does stays in plain sight.

    Answers are read twice: in shape, centred over the outputs and divided by their root mean square, network by
    network; and in size, as log-probabilities down to -8 (as `asinh` where there is one output, for which softmax says
    nothing). The order of outputs has a meaning (classes), so both are projected on cosines over the outputs.

    Args:
        probes: How many.
        numbers: Of a network.
        generator: Draws the matrix.
    """

    def __init__(self, probes: int, numbers: int, *, generator: Generator) -> None:
        super().__init__()
        self.matrix = draw(2 * probes * CLASSES, numbers, generator=generator)
        self.offset = nn.Parameter(torch.zeros(numbers))

    @torch.no_grad()
    def start(self, codes: Float[Tensor, "models codes"], generator: Generator) -> None:
        """Begin with the principal components of what networks answer, brought halfway to equal deviation.

        Where there are fewer components than numbers, the matrix stays drawn.

        Args:
            codes: Of the networks, see `codes`; all alike count.
            generator: Draws the start of the search for the components.
        """
        if len(codes) <= self.matrix.shape[1]:
            return
        mean = codes.mean(0)
        directions, sizes = _principal(codes - mean, self.matrix.shape[1], generator)
        scaled = directions / sizes.clamp_min(LEAST * sizes[0]).sqrt()
        scaled = scaled / ((codes - mean) @ scaled).square().mean().sqrt()
        self.matrix.copy_(scaled)
        self.offset.copy_(-mean @ scaled)

    def forward(self, answers: Float[Tensor, "models probes outputs"]) -> Float[Tensor, "models numbers"]:
        """Return numbers of the networks."""
        return codes(answers) @ self.matrix + self.offset


class ProbeReadout(nn.Module):
    """Features of the answers to probes, read as by `AnswerMap`, by two layers.

    Args:
        probes: How many.
        features: Of a network.
        generator: Draws the parameters.
    """

    def __init__(self, probes: int, features: int, *, generator: Generator) -> None:
        super().__init__()
        self.first = draw(2 * probes * CLASSES, 2 * features, generator=generator)
        self.second = draw(2 * features, features, generator=generator)

    def forward(self, answers: Float[Tensor, "models probes outputs"]) -> Float[Tensor, "models features"]:
        """Return features of the networks."""
        return silu(dropout(codes(answers), DROPPED, self.training) @ self.first) @ self.second


def codes(answers: Float[Tensor, "models probes outputs"]) -> Float[Tensor, "models codes"]:
    """Return what `AnswerMap` and `ProbeReadout` read off answers."""
    cosines = on(depth_cosines(answers.shape[2], CLASSES), answers)
    return (shape_and_size(answers) @ cosines).flatten(1) / min(answers.shape[2], CLASSES) ** 0.5


def _principal(x: Float[Tensor, "models codes"], count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Principal directions, `(codes, count)`, and the deviations along them; by subspace iteration.

    Source:
        Halko, Martinsson, Tropp (2011), "Finding structure with randomness", algorithm 4.4.
    """
    y = torch.randn(x.shape[1], count + 16, generator=generator).to(x)
    for _ in range(4):
        y = torch.linalg.qr(x.T @ (x @ y)).Q
    _, sizes, turn = torch.linalg.svd(x @ y, full_matrices=False)
    return (y @ turn.T)[:, :count], sizes[:count] / len(x) ** 0.5


def shape_and_size(answers: Float[Tensor, "models probes outputs"]) -> Float[Tensor, "models twice_probes outputs"]:
    """Return shape and size of the answers, one after the other, see `AnswerMap`."""
    several = answers.shape[2] > 1
    centred = answers - answers.mean(2, keepdim=True) if several else answers
    norm = torch.linalg.vector_norm(centred, dim=(1, 2), keepdim=True)  # of silent networks too it has a slope
    shape = centred / (norm / (answers.shape[1] * answers.shape[2]) ** 0.5 + LEAST)
    size = answers.log_softmax(2).clamp_min(UNLIKELY) / 2 if several else answers.asinh()
    return torch.cat([shape, size], 1)
