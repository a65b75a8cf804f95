"""Networks trained straight to answer as others do: what an architecture allows, without a latent between."""

from __future__ import annotations

from math import cos, pi

import torch
from torch import Generator, Tensor, nn

from weightspace.train.decoder import behaviour_loss, run_lightly
from weightspace.zoo.initialise import draw_weights
from weightspace.zoo.layout import Layout

IMAGES, RATE, WARMUP = 128, 5e-3, 50


def distil(module: nn.Module, logits: Tensor, inputs: Tensor, *, steps: int, seed: int = 0) -> dict[str, Tensor]:
    """Return the weights of students of one architecture, `(models, ...)` by tensor name, one a teacher.

    Adam on the loss that decoders learn by, a cosine to nothing, gradients clipped network by network.

    Args:
        module: The students' architecture; it has no running statistics.
        logits: Of the teachers, `(models, inputs, classes)`.
        inputs: That they answered.
        steps: Updates.
        seed: Of first weights and batches.
    """
    layout, models = Layout.of(module), len(logits)
    flat = draw_weights(layout, ["torch"] * models, [1.0] * models, list(range(models))).to(inputs.device)
    flat.requires_grad_()
    optimizer = torch.optim.Adam([flat], RATE)
    draw = Generator().manual_seed(seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / WARMUP) * (1 + cos(pi * step / steps)) / 2
        shown = torch.randint(len(inputs), (IMAGES,), generator=draw).to(inputs.device)
        answers = run_lightly(module, layout.view(flat), inputs[shown])
        optimizer.zero_grad()
        (behaviour_loss(answers, logits[:, shown]) * models).backward()
        assert flat.grad is not None
        flat.grad.mul_((1 / (flat.grad.norm(dim=1, keepdim=True) + 1e-6)).clamp_max(1.0))
        optimizer.step()
    return {name: tensor.detach() for name, tensor in layout.view(flat).items()}
