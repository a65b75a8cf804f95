"""The pre-norm transformer block that `vit_tiny` and `gpt_char` share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weightspace.zoo.dropout import Dropout
from weightspace.zoo.families.activations import make_activation


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer perceptron of four times the width, each added to its input.

    Attention is written out, so that it runs on stacks everywhere.
    """

    def __init__(
        self, width: int, heads: int, *, activation: str = "gelu", causal: bool = False, dropout: bool = False
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activation = make_activation(activation)
        self.dropout = Dropout() if dropout else nn.Identity()

    def _attend(self, x: Tensor) -> Tensor:
        items, tokens, width = x.shape
        q, k, v = self.qkv(x).view(items, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5
        if self.causal:
            later = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
            weights = weights.masked_fill(later, float("-inf"))
        return self.proj((weights.softmax(-1) @ v).transpose(1, 2).reshape(items, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return `(items, tokens, width)` of the same shape."""
        x = x + self.dropout(self._attend(self.norm1(x)))
        return x + self.dropout(self.fc2(self.activation(self.fc1(self.norm2(x)))))
