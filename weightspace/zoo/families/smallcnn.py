"""The network of the Small CNN Zoo."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from weightspace.zoo.dropout import Dropout
from weightspace.zoo.families.activations import make_activation
from weightspace.zoo.families.signature import Signature


class SmallCNN(nn.Module):
    """Three 3x3 convolutions of stride 2 without padding, global average pool, dense layer.

    With width 16, one input channel and 10 classes it has 4,970 weights. Convolutions beyond the third keep the size.

    Source: Unterthiner et al. (2020), "Predicting neural network accuracy from weights", section 3.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        width: int = 16,
        depth: int = 3,
        activation: str = "relu",
        dropout: bool = False,
    ):
        super().__init__()
        channels, *size = signature.inputs
        if len(size) != 2 or min(size) < 15:
            raise ValueError(f"it takes images of at least 15 x 15 pixels, not {signature.inputs}")
        if depth < 3:
            raise ValueError(f"it has at least 3 convolutions, not {depth}")
        pairs = enumerate(pairwise((channels, *[width] * depth)))
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2 if i < 3 else 1, padding=0 if i < 3 else 1) for i, (a, b) in pairs
        )
        self.activation = make_activation(activation)
        self.dropout = Dropout() if dropout else nn.Identity()
        self.head = nn.Linear(width, signature.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of images `(images, channels, height, width)`."""
        for conv in self.convs:
            x = self.dropout(self.activation(conv(x)))
        return self.head(x.mean((-2, -1)))
