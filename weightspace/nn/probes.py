"""Learned inputs for networks of every input size, and what is read off their answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn
from torch.nn.functional import dropout, silu

from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.seeded import draw

CLASSES = 16
"""Cosines over the outputs: answers of up to so many outputs are told apart in full."""
BANKS = {"image": (12, 12), "row": (64,)}
"""Cosines a dimension, for inputs with channels and pixels, and for rows of numbers or coordinates."""
COLOURS, ROWS, LEAST, UNLIKELY = 3, 4, 1e-3, -8.0
DROPPED = 0.2
"""Share of what is read that training does without."""
RANKS = (1, 3)
"""Dimensions that an input may have, without the batch."""


class ProbeBank(nn.Module):
    """A few learned inputs, sums of low-frequency cosines over an input's places, so that they fit every size.

    `x[p, c, i, j] = sum_fg A[p, c, f, g] cos_f(i) cos_g(j)`. Channels beyond the third start again at the first. They
    start smooth: amplitudes fall as `1 / (1 + f + g)`, and each probe has mean square one at full resolution.

    Args:
        probes: How many images; there are `ROWS` times as many rows, which are cheap to answer.
        generator: Draws the amplitudes.

    Source:
        Kahana, Horwitz, Shomron, Hoshen (2024), "Deep linear probe generators for weight space learning": structured
        probes beat free pixels. Ours are structured by cosines instead of a linear generator.
    """

    def __init__(self, probes: int, *, generator: Generator) -> None:
        super().__init__()
        self.image = nn.Parameter(_amplitudes(probes, COLOURS, BANKS["image"], generator))
        self.row = nn.Parameter(_amplitudes(ROWS * probes, 1, BANKS["row"], generator))

    @torch.no_grad()
    def start(self, inputs: Sequence[Tensor], generator: Generator) -> None:
        """Let probes begin as real inputs, as far as cosines show them, in equal shares of every dataset.

        Images take the place of all image probes, rows that of every other row: those left random are spread widely.

        Args:
            inputs: `(inputs, *shape)` of each dataset, images or rows of numbers; each gives as many as it has.
            generator: Picks them.
        """
        for name, places, rank in (("image", slice(None), 4), ("row", slice(0, None, 2), 2)):
            shown = [x for x in inputs if x.ndim == rank]
            kept = getattr(self, name)[places]
            for i, x in enumerate(shown):
                here = kept[i :: len(shown)]
                picked = x[torch.randperm(len(x), generator=generator)[: len(here)].to(x.device)].to(here)
                here[: len(picked)] = _as_amplitudes(picked if rank == 4 else picked[:, None], BANKS[name])

    def forward(self, shape: tuple[int, ...]) -> Float[Tensor, "probes ..."]:
        """Return the probes for inputs of this shape, without the batch: `(channels, height, width)` or `(numbers,)`.

        Raises:
            ValueError: Inputs of another rank.
        """
        if len(shape) == 3:
            rows, columns = (
                on(depth_cosines(n, k), self.image) for n, k in zip(shape[1:], BANKS["image"], strict=True)
            )
            colours = self.image.index_select(1, on(_colours(shape[0]), self.image))
            return torch.einsum("pcfg,if,jg->pcij", colours, rows, columns)
        if len(shape) == 1:
            return self.row[:, 0] @ on(depth_cosines(shape[0], BANKS["row"][0]), self.row).T
        raise ValueError(f"probes are images or rows of numbers, not inputs of shape {shape}")


@lru_cache
def _colours(channels: int) -> Int64[Tensor, " channels"]:
    return torch.arange(channels) % COLOURS


def _amplitudes(probes: int, channels: int, waves: tuple[int, ...], generator: Generator) -> Tensor:
    where = torch.meshgrid(*(torch.arange(n) for n in waves), indexing="ij")
    falling = 1 / (1 + torch.stack(where).sum(0))
    return torch.randn(probes, channels, *waves, generator=generator) * falling / falling.square().sum().sqrt()


def _as_amplitudes(x: Float[Tensor, "inputs channels ..."], waves: tuple[int, ...]) -> Tensor:
    """Amplitudes whose sums of cosines come closest to inputs; channels start again at the first."""
    for dim, (size, count) in enumerate(zip(x.shape[2:], waves, strict=True), 2):
        inverse = torch.linalg.pinv(depth_cosines(size, count)).to(x)
        x = (x.movedim(dim, -1) @ inverse.T).movedim(-1, dim)
    wanted = COLOURS if len(waves) > 1 else 1
    return x[:, [c % x.shape[1] for c in range(wanted)]]


class AnswerMap(nn.Module):
    """Answers to the probes as numbers of a network, by one matrix: what a network does stays in plain sight.

    With `hidden` what two layers make of these numbers is added to them. A network that stands for a picture answers
    with the picture, and of what a picture shows a matrix reads little. They begin at nothing.

    Answers are read twice: in shape, centred over the outputs and divided by their root mean square, network by
    network; and in size, as log-probabilities down to -8 (as `asinh` where there is one output, for which softmax says
    nothing). The order of outputs has a meaning (classes), so both are projected on cosines over the outputs.

    Args:
        probes: How many.
        numbers: Of a network.
        hidden: Width of the layers; 0 for none.
        generator: Draws the parameters.
    """

    def __init__(self, probes: int, numbers: int, hidden: int = 0, *, generator: Generator) -> None:
        super().__init__()
        self.matrix = draw(2 * probes * CLASSES, numbers, generator=generator)
        self.offset = nn.Parameter(torch.zeros(numbers))
        self.hidden = hidden
        if hidden:
            self.first = draw(numbers, hidden, generator=generator)
            self.second = draw(hidden, hidden, generator=generator)
            self.third = nn.Parameter(torch.zeros(hidden, numbers))

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
        plain = codes(answers) @ self.matrix + self.offset
        if not self.hidden:
            return plain
        x = silu(dropout(plain, DROPPED, self.training) @ self.first)
        return plain + silu(dropout(x, DROPPED, self.training) @ self.second) @ self.third


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
    return (_read(answers) @ cosines).flatten(1) / min(answers.shape[2], CLASSES) ** 0.5


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


def _read(answers: Float[Tensor, "models probes outputs"]) -> Float[Tensor, "models twice_probes outputs"]:
    """Shape and size of the answers, one after the other."""
    several = answers.shape[2] > 1
    centred = answers - answers.mean(2, keepdim=True) if several else answers
    norm = torch.linalg.vector_norm(centred, dim=(1, 2), keepdim=True)  # of silent networks too it has a slope
    shape = centred / (norm / (answers.shape[1] * answers.shape[2]) ** 0.5 + LEAST)
    size = answers.log_softmax(2).clamp_min(UNLIKELY) / 2 if several else answers.asinh()
    return torch.cat([shape, size], 1)
