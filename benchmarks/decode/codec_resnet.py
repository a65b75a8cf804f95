"""A real network in few bits: the ResNet for CIFAR-10 of He et al. (2016), by every scheme.

    python -m benchmarks.decode.codec_resnet cifar10_resnet20.safetensors --data-dir DATA --json

Agreement is the share of 1,000 test images that the decoded network answers as the original, accuracy that of right
answers; bits a weight are all bytes over all weights, running statistics of norms included. Schemes that run networks
see 512 training images without labels. Learned grids are left out unless they are named: they take minutes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.decode.codec.codec import Compression, decode_weights, encode_weights
from weightspace.errors import CodecError
from weightspace.execute.module import from_module, to_module
from weightspace.graph.build import build_graph
from weightspace.zoo.data import load_dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels that the network was trained on."""


class Block(nn.Module):
    """Two convolutions and a shortcut without weights."""

    def __init__(self, before: int, width: int):
        super().__init__()
        self.stride, self.more = (1, 0) if before == width else (2, width - before)
        self.conv1 = nn.Conv2d(before, width, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of `width` channels."""
        short = x[:, :, :: self.stride, :: self.stride]
        short = nn.functional.pad(short, (0, 0, 0, 0, self.more // 2, self.more // 2))
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + short)


class CifarResNet(nn.Module):
    """Three stages of blocks at 16, 32 and 64 channels."""

    def __init__(self, blocks: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(before, width), *(Block(width, width) for _ in range(blocks - 1)))
            for before, width in ((16, 16), (16, 32), (32, 64))
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def read_network(path: str) -> Checkpoint:
    """Return the checkpoint with its program."""
    weights = dict(load_checkpoint(path).tensors)
    net = CifarResNet(sum(name.startswith("layer1.") and name.endswith("conv1.weight") for name in weights))
    net.load_state_dict(weights, strict=False)
    return from_module(net.eval(), (torch.zeros(2, 3, 32, 32),))


def pixels(x: Tensor) -> Tensor:
    """Return images of -1 to 1 as the network takes them."""
    mean, std = (torch.tensor(t).reshape(3, 1, 1) for t in (MEAN, STD))
    return ((x + 1) / 2 - mean) / std


@torch.no_grad()
def answer(checkpoint: Checkpoint, images: Tensor) -> Tensor:
    """Return the classes that a network names."""
    module = to_module(checkpoint)
    return torch.cat([module(part).argmax(1) for part in images.split(250)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data-dir")
    parser.add_argument("--bits", type=float, nargs="+", default=[2, 3, 4, 8])
    parser.add_argument("--schemes", nargs="+", default=["rounding", "lloyd", "low_rank", "feedback"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    net, data = read_network(args.checkpoint), load_dataset("cifar10_jpeg", args.data_dir)
    images, labels, shown = pixels(data.x_test[:1000]), data.y_test[:1000], pixels(data.x[:512])
    wanted, graph = answer(net, images), build_graph(net)
    weights = sum(t.numel() for t in net.tensors.values() if t.is_floating_point())
    rows: list[dict[str, Any]] = [{"scheme": "original", "accuracy": float((wanted == labels).float().mean())}]
    for bits, scheme in product(args.bits, args.schemes):
        start = time.monotonic()
        try:
            packed = encode_weights(net, Compression(bits, scheme, shown))
        except CodecError as error:
            rows.append({"scheme": scheme, "rate": bits, "error": str(error)})
            continue
        found = answer(replace(net, tensors=decode_weights(packed, graph)), images)
        agreement, accuracy = (float((found == other).float().mean()) for other in (wanted, labels))
        told = {"bits": 8 * len(packed) / weights, "agreement": agreement, "accuracy": accuracy}
        rows.append({"scheme": scheme, "rate": bits} | told | {"seconds": time.monotonic() - start})
    for row in rows:
        print(json.dumps(row) if args.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
