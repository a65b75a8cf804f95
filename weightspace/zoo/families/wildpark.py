"""Convolutional networks of random depth, widths, kernels, activations and skips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weightspace.zoo.dropout import Dropout
from weightspace.zoo.families.activations import make_activation
from weightspace.zoo.families.signature import Signature


class WildPark(nn.Module):
    """Padded convolutions, each with own width, kernel and activation, some with a skip from an earlier layer.

    A skip is added on the channels that both layers have. Global average pool and a dense layer end it.

    Source: Kofinas et al. (2024), "Graph neural networks for learning equivariant representations of neural networks",
    appendix on the CNN Wild Park.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        depth: int,
        dropout: bool = False,
        **layers: Sequence[Any],
    ):
        super().__init__()
        for name in ("channels", "kernels", "activations", "skips"):
            if len(layers[name]) != depth:
                raise ValueError(f"{name} must have one value for each of {depth} layers, not {layers[name]}")
        widths = [signature.inputs[0], *layers["channels"]]
        self.skips: tuple[int, ...] = tuple(layers["skips"])
        late = [(i, source) for i, source in enumerate(self.skips) if not -1 <= source < max(i - 1, 0)]
        if late:
            raise ValueError(f"skips {late} (layer, source) must come from an earlier, not adjacent layer, or be -1")
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, k, padding="same") for a, b, k in zip(widths, widths[1:], layers["kernels"], strict=False)
        )
        self.activations = nn.ModuleList(make_activation(name) for name in layers["activations"])
        self.dropout = Dropout() if dropout else nn.Identity()
        self.fc = nn.Linear(widths[-1], signature.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of images `(images, channels, height, width)`."""
        states: list[Tensor] = []
        for conv, activation, source in zip(self.layers, self.activations, self.skips, strict=True):
            x = conv(x)
            if source >= 0:
                shared = min(x.shape[1], states[source].shape[1])
                x = torch.cat([x[:, :shared] + states[source][:, :shared], x[:, shared:]], 1)
            x = self.dropout(activation(x))
            states.append(x)
        return self.fc(x.mean((-2, -1)))
