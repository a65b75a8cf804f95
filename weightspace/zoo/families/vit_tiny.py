"""Tiny vision transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weightspace.zoo.families.signature import Signature
from weightspace.zoo.families.transformer import TransformerBlock


class ViT(nn.Module):
    """Patches, learned positions, pre-norm blocks, mean over the tokens.

    Source: Beyer et al. (2022), "Better plain ViT baselines for ImageNet-1k" (mean pool in place of a class token).
    """

    def __init__(self, signature: Signature, *, width: int, depth: int, heads: int, patch: int, **block: Any):
        super().__init__()
        channels, height, breadth = signature.inputs
        if height % patch or breadth % patch:
            raise ValueError(f"images of {height} x {breadth} pixels do not divide into patches of {patch}")
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.zeros((height // patch) * (breadth // patch), width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, **block) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, signature.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of images `(images, channels, height, width)`."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(1))
