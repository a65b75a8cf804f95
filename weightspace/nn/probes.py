"""Learned inputs for networks of every input size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.pictures import PLANE, picture_places, picture_side

BANKS = {"image": (12, 12), "row": (64,)}
"""Cosines a dimension, for inputs with channels and pixels, and for rows of numbers or coordinates."""
COLOURS, ROWS = 3, 4
RANKS = (1, 3)
"""Dimensions that an input may have, without the batch."""


class ProbeBank(nn.Module):
    """A few learned inputs, sums of low-frequency cosines over an input's places, so that they fit every size.

    `x[p, c, i, j] = sum_fg A[p, c, f, g] cos_f(i) cos_g(j)`. Channels beyond the third start again at the first. They
    start smooth: amplitudes fall as `1 / (1 + f + g)`, and each probe has mean square one at full resolution.

    Args:
        probes: How many images; there are `ROWS` times as many rows, which are cheap to answer.
        plane: Whether networks that take places in a plane are asked for a picture, see `PictureMap`, and not for rows.
        generator: Draws the amplitudes.

    Source:
        Kahana, Horwitz, Shomron, Hoshen (2024), "Deep linear probe generators for weight space learning": structured
        probes beat free pixels. Ours are structured by cosines instead of a linear generator.
    """

    def __init__(self, probes: int, *, plane: bool = False, generator: Generator) -> None:
        super().__init__()
        self.side = picture_side(ROWS * probes) if plane else 0
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
        if shape == PLANE and self.side:
            return on(picture_places(self.side), self.row)
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
