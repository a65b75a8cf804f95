"""Multi-layer perceptrons."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from weightspace.zoo.dropout import Dropout
from weightspace.zoo.families.activations import make_activation
from weightspace.zoo.families.signature import Signature


class MLP(nn.Module):
    """`depth` hidden layers of one width over the flattened input."""

    def __init__(
        self,
        signature: Signature,
        *,
        width: int = 32,
        depth: int = 2,
        activation: str = "relu",
        dropout: bool = False,
    ):
        super().__init__()
        fan_in = 1
        for size in signature.inputs:
            fan_in *= size
        widths = (fan_in, *[width] * depth, signature.outputs)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = make_activation(activation)
        self.dropout = Dropout() if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of `(rows, ...)`."""
        x = x.flatten(1)
        for layer in list(self.layers)[:-1]:
            x = self.dropout(self.activation(layer(x)))
        return self.layers[-1](x)
