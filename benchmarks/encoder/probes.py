"""Learned probes alone: a few learned inputs go through each network, and its outputs are read.

Source: Kahana et al. (2025), "Deep linear probe generators for weight space learning": inputs come from learned codes
through layers without activations between them. There the generator of images is a stack of transposed convolutions;
ours upsamples bilinearly and convolves, which is linear too and fits every size.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.encoder.data import Batch, Group, Networks, PeerError
from benchmarks.encoder.parts import Description, Head, compress
from weightspace.execute.stack import run_stacked
from weightspace.zoo.families import FAMILIES


@final
class LinearGenerator(nn.Module):
    """Learned codes to inputs of one shape, by linear maps alone."""

    def __init__(self, probes: int, shape: tuple[int, ...], code: int = 32, channels: int = 16):
        super().__init__()
        self.shape = shape
        self.codes = nn.Parameter(torch.randn(probes, code))
        self.is_image = len(shape) == 3
        if self.is_image:
            self.small = tuple(max(2, -(-side // 4)) for side in shape[1:])
            self.lift = nn.Linear(code, channels * self.small[0] * self.small[1])
            self.mix = nn.Conv2d(channels, channels, 3, padding=1)
            self.paint = nn.Conv2d(channels, shape[0], 3, padding=1)
        else:
            self.lift = nn.Linear(code, code)
            self.paint = nn.Linear(code, torch.Size(shape).numel())
        with torch.no_grad():  # inputs of the size of standardised data to begin with
            spread = self().std().clamp(min=1e-6)
            self.paint.weight /= spread
            self.paint.bias.zero_()

    def forward(self) -> Tensor:
        """Return the inputs `(probes, *shape)`."""
        x = self.lift(self.codes)
        if not self.is_image:
            return self.paint(x).reshape(-1, *self.shape)
        x = x.unflatten(1, (-1, *self.small))
        middle = [max(2, -(-side // 2)) for side in self.shape[1:]]
        x = self.mix(F.interpolate(x, middle, mode="bilinear", align_corners=False))
        return self.paint(F.interpolate(x, self.shape[1:], mode="bilinear", align_corners=False))


@final
class ProbeNet(nn.Module):
    """Outputs of each network on learned inputs, into a head. No weight is looked at.

    Without `probes` there are 64 images, or 128 inputs of another shape, as the source takes for implicit networks.
    """

    def __init__(self, train: Networks, outputs: int, probes: int | None = None, hidden: int = 256):
        super().__init__()
        signatures = {group.architecture.signature for group in train.groups}
        symbols = [g.architecture.known["family"] for g in train.groups if _reads_symbols(g)]
        if symbols:
            raise PeerError(f"networks of family {symbols[0]!r} read symbols; probes must be real numbers.")
        if len(signatures) > 1:
            raise PeerError(f"networks of {len(signatures)} input and output shapes; probes fit one.")
        inputs = signatures.pop().inputs
        self.generator = LinearGenerator(probes or (64 if len(inputs) == 3 else 128), inputs)
        self.description = Description(train)
        self._modules_by_id: dict[str, nn.Module] = {}
        self.centre: Tensor
        self.spread: Tensor
        with torch.no_grad():
            responses = self._responses(next(train.batches(512, torch.Generator().manual_seed(0))))
        self.register_buffer("centre", responses.mean(0))
        self.register_buffer("spread", responses.std(0).clamp(min=1e-3))
        self.head = Head(responses.shape[1] + self.description.width, outputs, hidden)

    def forward(self, batch: Batch) -> Tensor:
        """Return raw outputs `(networks, outputs)`."""
        seen = (self._responses(batch) - self.centre) / self.spread
        return self.head(torch.cat([seen, self.description(batch)], 1))

    def _responses(self, batch: Batch) -> Tensor:
        probes = self.generator().to(batch.groups[0].flat.device)
        return torch.cat([compress(self._run(group, probes)).flatten(1) for group in batch.groups])

    def _run(self, group: Group, probes: Tensor) -> Tensor:
        key = f"{group.architecture.identity} {probes.device}"
        if key not in self._modules_by_id:
            module = group.architecture.module().to(probes.device).requires_grad_(False)
            self._modules_by_id[key] = module
        found = run_stacked(self._modules_by_id[key], group.weights, probes)
        return torch.cat([x.flatten(2) for x in found], 2) if isinstance(found, tuple) else found


def _reads_symbols(group: Group) -> bool:
    return FAMILIES[group.architecture.known["family"]].data == "text"
