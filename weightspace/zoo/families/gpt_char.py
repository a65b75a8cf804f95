"""Character-level transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weightspace.zoo.families.signature import Signature
from weightspace.zoo.families.transformer import TransformerBlock


class GPT(nn.Module):
    """Causal pre-norm transformer over characters, learned positions, own output weights.

    Source: Radford et al. (2019), "Language models are unsupervised multitask learners", section 2.3.
    """

    def __init__(self, signature: Signature, *, width: int, depth: int, heads: int, **block: Any):
        super().__init__()
        self.characters = nn.Embedding(signature.outputs, width)
        self.positions = nn.Parameter(torch.zeros(signature.inputs[0], width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, causal=True, **block) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, signature.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `(texts, places, characters)` of the character after each place of `(texts, places)`."""
        tokens = self.characters(x) + self.positions[: x.shape[1]]
        return self.head(self.norm(self.blocks(tokens)))
