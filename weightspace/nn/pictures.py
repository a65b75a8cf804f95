"""Networks that take places in a plane: asked for their picture, which is read by convolutions."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.nn.answers import DROPPED, shape_and_size
from weightspace.nn.constants import on
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.seeded import draw

PLANE = (2,)
"""Shape of an input that is a place in a plane, as implicit networks of pictures take, from -1 to 1."""
COLOURS, KERNEL, GROUPS = 3, 3, 4


def picture_side(most: int) -> int:
    """Return the side of the largest picture of fewer places than `most`."""
    return math.isqrt(most - 1)


@lru_cache
def picture_places(side: int) -> Float[Tensor, "places two"]:
    """Return the places of a picture, row by row, from -1 to 1 downwards and across."""
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    return torch.cartesian_prod(line, line)


class PictureMap(nn.Module):
    """The picture that a network stands for, as numbers, by three convolutions and a matrix.

    An implicit network answers with a picture, whose parts mean the same wherever they are; of that a matrix on the
    answers knows nothing. Answers are read in shape and in size as by `AnswerMap`, several outputs by their first
    cosines.

    Args:
        side: Of the picture, in places.
        numbers: Of a network.
        width: Channels of the first convolution, a multiple of `GROUPS`; twice and four times as many of the next.
        generator: Draws the parameters.

    Source:
        LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to document recognition".
    """

    def __init__(self, side: int, numbers: int, width: int, *, generator: Generator) -> None:
        super().__init__()
        self.side, sizes = side, (2 * COLOURS, width, 2 * width, 4 * width)
        kernels = (draw(b, KERNEL**2 * a, 1, generator=generator) for a, b in pairwise(sizes))
        self.kernels = nn.ParameterList(kernels)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, n) for n in sizes[1:])
        left = math.ceil(side / 4) ** 2
        self.matrix = draw(sizes[-1] * left, numbers, generator=generator)
        self.offset = nn.Parameter(torch.zeros(numbers))

    def forward(self, answers: Float[Tensor, "models places outputs"]) -> Float[Tensor, "models numbers"]:
        """Return numbers of the networks, which answered at `picture_places`."""
        cosines = on(depth_cosines(answers.shape[2], COLOURS), answers)
        x = (shape_and_size(answers) @ cosines).unflatten(1, (2, self.side, self.side)).permute(0, 1, 4, 2, 3)
        x = x.flatten(1, 2)
        for i, (kernel, norm) in enumerate(zip(self.kernels, self.norms, strict=True)):
            x = F.avg_pool2d(x, 2, ceil_mode=True) if i else x
            x = F.conv2d(x, kernel.view(len(kernel), -1, KERNEL, KERNEL), padding=KERNEL // 2)
            x = F.silu(norm(x))
        return F.dropout(x.flatten(1), DROPPED, self.training) @ self.matrix + self.offset
