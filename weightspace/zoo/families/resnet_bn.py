"""Small residual networks with batch norm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from weightspace.zoo.dropout import Dropout
from weightspace.zoo.families.activations import make_activation
from weightspace.zoo.families.signature import Signature


class _Block(nn.Module):
    def __init__(self, fan_in: int, width: int, activation: str, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.activation = make_activation(activation)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or fan_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(fan_in, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.bn1(self.conv1(x)))
        return self.activation(self.bn2(self.conv2(h)) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet of `depth = 6n + 2` layers for small images: three stages of n blocks, widths w, 2w, 4w.

    Source: He et al. (2016), "Deep residual learning for image recognition", section 4.2; shortcuts are its option B.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        depth: int = 8,
        width: int = 16,
        activation: str = "relu",
        dropout: bool = False,
    ):
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth {depth} is not 6n + 2: take 8, 14, 20")
        self.conv1 = nn.Conv2d(signature.inputs[0], width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.activation = make_activation(activation)
        blocks, fan_in = [], width
        for stage, wide in enumerate((width, 2 * width, 4 * width)):
            for block in range((depth - 2) // 6):
                blocks.append(_Block(fan_in, wide, activation, 2 if stage and not block else 1))
                fan_in = wide
        self.blocks = nn.Sequential(*blocks)
        self.dropout = Dropout() if dropout else nn.Identity()
        self.fc = nn.Linear(fan_in, signature.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of images `(images, channels, height, width)`."""
        x = self.blocks(self.activation(self.bn1(self.conv1(x))))
        return self.fc(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))
