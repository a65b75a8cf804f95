"""Weights that learn to answer as other networks do, from inputs without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import cos, pi

import torch
from torch import Generator, Tensor, nn

from weightspace.train.decoder import behaviour_loss, run_lightly

IMAGES, WARMUP = 128, 20
"""Inputs of an update, and updates until the learning rate is at its highest."""


def polish(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    inputs: Tensor,
    wanted: Tensor,
    *,
    steps: int,
    learning_rate: float = 1e-3,
) -> dict[str, Tensor]:
    """Return weights after some updates towards wanted answers; each network learns as if it were alone.

    Adam on the loss that decoders learn by; a cosine brings the learning rate to nothing; gradients of each network
    have at most norm one. What is no parameter of the module stays.

    Args:
        module: The architecture.
        weights: To begin with, `(models, ...)` by tensor name.
        inputs: That have been answered.
        wanted: Answers, `(models, inputs, classes)`.
        steps: Updates.
        learning_rate: At its highest.
    """
    learned = [name for name, _ in module.named_parameters() if name in weights]
    found = {name: t.detach().clone().requires_grad_(name in learned) for name, t in weights.items()}
    optimizer = torch.optim.Adam([found[name] for name in learned], learning_rate)
    models = len(wanted)
    for step, shown in enumerate(_batches(len(inputs), steps, inputs.device)):
        rising = min(1.0, (step + 1) / WARMUP)
        optimizer.param_groups[0]["lr"] = learning_rate * rising * (1 + cos(pi * step / steps)) / 2
        optimizer.zero_grad()
        answers = run_lightly(module, found, inputs[shown])
        (behaviour_loss(answers, wanted[:, shown].float()) * models).backward()
        _clip([found[name] for name in learned])
        optimizer.step()
    return {name: t.detach() for name, t in found.items()}


def _clip(weights: list[Tensor]) -> None:
    """Bring the gradient of each network to norm one at most."""
    gradients = [w.grad for w in weights if w.grad is not None]
    size = torch.stack([g.reshape(len(g), -1).square().sum(1) for g in gradients]).sum(0).sqrt()
    share = (1 / (size + 1e-6)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(share.view(-1, *[1] * (gradient.ndim - 1)))


def _batches(inputs: int, steps: int, device: torch.device) -> Iterator[Tensor]:
    draw = Generator().manual_seed(0)
    for _ in range(steps):
        yield torch.randint(inputs, (IMAGES,), generator=draw).to(device)
