"""Llama-like checkpoints of random weights in host memory, made at the speed of that memory."""

from __future__ import annotations

from math import ceil

import torch
from torch import Generator, Tensor

from benchmarks.encoder.scale import Shapes, llama
from weightspace.checkpoint.checkpoint import Checkpoint

LARGE, DRAWN, SHIFTS = 7e9, 1 << 24, 1 << 20
"""Weights of the model whose proportions all have; numbers drawn once, and places from which they are read off."""


def llama_of(weights: float) -> Shapes:
    """Return shapes of a Llama of at least so many weights; the proportions are those of the one of 7 billion."""
    scale = (weights / LARGE) ** (1 / 3)
    words, width, inner = (128 * max(1, round(n * scale)) for n in (250, 32, 86))
    layers = ceil((weights - 2 * words * width) / (4 * width**2 + 3 * width * inner))
    return llama(words, width, inner, width, max(1, layers))


def fill_memory(shapes: Shapes) -> Tensor:
    """Return one piece of memory with bf16 weights of these shapes, side by side.

    All are the same draws, read off from another place and at another scale every `DRAWN` numbers.
    """
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    memory = torch.empty(sum(sizes), dtype=torch.bfloat16)
    drawn = torch.randn(DRAWN + SHIFTS, generator=Generator().manual_seed(0)).bfloat16()
    parts = memory.split(sizes)
    for i, piece in enumerate(piece for part in parts for piece in part.split(DRAWN)):
        torch.mul(drawn.narrow(0, 7919 * i % SHIFTS, len(piece)), 0.02 + 1e-4 * (i % 100), out=piece)
    for part, shape in zip(parts, shapes.values(), strict=True):
        if len(shape) == 1:
            part.abs_().add_(1)
    return memory


def checkpoint_in(memory: Tensor, shapes: Shapes) -> Checkpoint:
    """Return the checkpoint that lies in a piece of memory."""
    parts = memory.split([torch.Size(shape).numel() for shape in shapes.values()])
    return Checkpoint({name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)})
