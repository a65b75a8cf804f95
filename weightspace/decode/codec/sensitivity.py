"""How much the answers of a network depend on each of its tensors."""

from __future__ import annotations

import math

import torch
from torch import Generator

from weightspace.decode.codec.schemes.rounding import Steps
from weightspace.decode.codec.source import Source

DRAWS, SHOWN = 8, 256
"""Draws of answers, and inputs shown."""


def sensitive_steps(source: Source) -> Steps:
    """Return steps for which each matrix costs the answers alike: one over the root of its mean Fisher information.

    A small error `e` of a weight costs `e^2 F / 2` of Kullback-Leibler divergence, `F` the expected square of the
    gradient of the log-probability of an answer that the network itself draws; at high rates bits are best spent where
    every weight costs the same.
    """
    behaviour = source.behaviour
    assert behaviour is not None
    device = behaviour.inputs.device
    names = [p.name for p in source.layout.places]
    held = {n: t[None].to(device) for n, t in source.tensors.items()}
    learned = {n: held[n].clone().requires_grad_() for n in names}
    generator = Generator(device).manual_seed(source.seed)
    totals = dict.fromkeys(names, 0.0)
    for _ in range(DRAWS):
        logits = behaviour.logits(held | learned, behaviour.inputs[:SHOWN])[0] * source.target.scale[0]
        if source.target.is_choice:
            logp = logits.log_softmax(-1)
            drawn = torch.multinomial(logp.detach().exp(), 1, generator=generator)
            score = logp.gather(1, drawn).sum()
        else:
            score = (logits * torch.randn(logits.shape, generator=generator, device=device)).sum()
        gradients = torch.autograd.grad(score, list(learned.values()), allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            totals[name] += 0.0 if gradient is None else float(gradient.square().mean())
    return {p.name: 1 / math.sqrt(totals[p.name] + 1e-12 * max(totals.values())) for p in source.layout.places}
