"""Latents that are moved a little until the networks decoded from them answer as wanted."""

from __future__ import annotations

from math import cos, pi

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from weightspace.decode.decoder import Decoder
from weightspace.train.decoder import behaviour_loss, run_lightly
from weightspace.train.into import Into
from weightspace.train.polish import IMAGES

RATE = 0.03
"""Learning rate, in deviations of each number of the latents."""


def refine_latents(
    decoder: Decoder,
    vectors: Float[Tensor, "models latent"],
    into: Into,
    inputs: Tensor,
    wanted: Float[Tensor, "models inputs classes"],
    *,
    steps: int,
) -> Float[Tensor, "models latent"]:
    """Return latents after some updates through the decoder, whose parameters stay.

    Adam on the loss that decoders learn by, in deviations of each number; a cosine brings the learning rate to nothing.

    Args:
        decoder: It.
        vectors: Latents to begin with.
        into: What they are decoded into.
        inputs: Without labels.
        wanted: What the networks are to answer to them.
        steps: Updates.
    """
    spread = decoder.network.spread.to(vectors)
    moved = torch.zeros_like(vectors).requires_grad_()
    optimizer = torch.optim.Adam([moved], RATE)
    draw = Generator().manual_seed(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 + cos(pi * step / steps)) / 2
        shown = torch.randint(len(inputs), (IMAGES,), generator=draw).to(inputs.device)
        answers = run_lightly(into.module, decoder.network(vectors + spread * moved, into.target), inputs[shown])
        optimizer.zero_grad()
        (behaviour_loss(answers, wanted[:, shown].float()) * len(vectors)).backward()
        optimizer.step()
    return (vectors + spread * moved).detach()
