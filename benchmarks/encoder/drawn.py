"""Networks that nobody trained, to time peers on and to test that they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Generator, Tensor

from benchmarks.encoder.data import Architecture, Group, Networks
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

SMALL_CNN = {"family": "smallcnn", "options": {"width": 16, "activation": "relu"}}


def describe_network(
    known: Mapping[str, Any], inputs: tuple[int, ...] = (1, 32, 32), outputs: int = 10
) -> Architecture:
    """Return the architecture of a family and its options."""
    module = build_network(known["family"], Signature(inputs, outputs), known["options"])
    shapes = {n: list(t.shape) for n, t in module.state_dict().items() if t.is_floating_point()}
    signature = {"inputs": inputs, "outputs": outputs}
    return Architecture.of(str(sorted(known["options"].items())), {**known, "signature": signature, "shapes": shapes})


def draw_networks(
    architectures: Sequence[Architecture],
    models: int,
    target: Callable[[Group, Tensor], Tensor] | None = None,
    *,
    snapshots: int = 1,
    generator: Generator,
) -> Networks:
    """Return `models` networks of each architecture, normal with deviation `gain / sqrt(fan_in)`, gain 0.5 to 2.

    Args:
        architectures: One or more.
        models: How many of each, `snapshots` to a run.
        target: Takes networks and their gains `(models,)`, gives their target; the gain itself, from 0 to 1, if None.
        snapshots: Rows of the same run.
        generator: Of all draws.
    """
    groups, targets = [], []
    for i, architecture in enumerate(architectures):
        gain = 0.5 * 4 ** torch.rand(models, generator=generator)
        parts = [
            gain[:, None] * torch.randn(models, torch.Size(shape).numel(), generator=generator) / fan_in(shape) ** 0.5
            for shape in architecture.layout.shapes.values()
        ]
        groups.append(Group(architecture, torch.arange(i * models, (i + 1) * models), torch.cat(parts, 1)))
        targets.append((gain.log2() + 1) / 2 if target is None else target(groups[-1], gain))
    rows = models * len(architectures)
    frame = pd.DataFrame({"run": [row // snapshots for row in range(rows)], "optimizer": "adam"})
    frame["learning_rate"] = 1e-3
    return Networks(frame, torch.cat(targets), tuple(groups))


def fan_in(shape: Sequence[int]) -> int:
    """Return how many weights meet in one output; 16 for a vector."""
    return torch.Size(shape[1:]).numel() if len(shape) > 1 else 16
