"""Networks of random weights at any width, to measure on."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Generator

from weightspace.checkpoint.checkpoint import Checkpoint

WIDTHS = (16, 32, 64, 128, 256, 512, 1024)


def synthetic(kind: str, width: int, seed: int) -> Checkpoint:
    """Return a three-layer `mlp`, or a `cnn` of two convolutions with batch norm, a pooled head and random weights."""
    generator = Generator().manual_seed(1000 * seed + width)

    def draw(*shape: int) -> torch.Tensor:
        fan_in = int(torch.tensor(shape[1:]).prod()) if len(shape) > 1 else 16
        return torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5

    if kind == "mlp":
        sizes = (8, width, width, 10)
        layers = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            layers |= {f"{i}.weight": draw(fan_out, fan_in), f"{i}.bias": draw(fan_out)}
        return Checkpoint(layers, source=f"mlp {width}")
    layers = {}
    for i, (fan_in, fan_out) in enumerate(((3, width), (width, width))):
        layers |= {f"conv{i}.weight": draw(fan_out, fan_in, 3, 3), f"bn{i}.weight": 1 + draw(fan_out)}
        layers |= {f"bn{i}.bias": draw(fan_out), f"bn{i}.running_mean": draw(fan_out)}
        layers |= {f"bn{i}.running_var": 1 + draw(fan_out) ** 2}
    layers |= {"fc.weight": draw(10, width), "fc.bias": draw(10)}
    return Checkpoint(layers, source=f"cnn {width}")
