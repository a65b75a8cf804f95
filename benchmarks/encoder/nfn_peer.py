"""NFN-HNP by the layers of the package `nfn` (MIT), which holds no model: this one follows the paper.

Source: Zhou et al. (2023), "Permutation equivariant neural functionals", section 3 and appendix on predicting
generalisation: equivariant layers of 16, 16 and 5 channels with ReLU, hidden-neuron-permutation pooling, then a
network of two hidden layers of 1000. We give weights on a common scale and, where the population mixes
architectures, tell the head which; one set of layers serves one depth and kernel sizes, so a population of several has
as many.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from benchmarks.encoder.data import Architecture, Batch, Group, Networks, PeerError
from benchmarks.encoder.parts import Description, Scales

CHANNELS = (16, 16, 5)
MOST_PLANS = 8


def require_nfn():
    """Return the package.

    Raises:
        PeerError: It is not installed.
    """
    try:
        import nfn.common
        import nfn.layers
    except ImportError as error:
        raise PeerError(f"the peer 'nfn' needs the extra: pip install 'weightspace[bench]' ({error}).") from error
    return nfn


def pair_tensors(architecture: Architecture) -> list[tuple[str, str]]:
    """Return names of weight and bias of each layer, in order.

    Raises:
        PeerError: The network is not a plain chain of linear and 2-D convolution layers with biases.
    """
    shapes = architecture.layout.shapes
    names = list(shapes)
    pairs = list(zip(names[::2], names[1::2], strict=False))
    width = None
    for weight, bias in pairs:
        w, b = shapes[weight], shapes[bias]
        if len(w) not in (2, 4) or b != w[:1] or width not in (None, w[1]):
            raise PeerError(
                f"nfn reads plain chains alone; {weight!r} {w} with {bias!r} {b} after {width} units is none."
            )
        width = w[0]
    if len(names) % 2 or len(pairs) < 2 or any(s >= 0 for s in architecture.known.get("options", {}).get("skips", ())):
        raise PeerError(f"nfn reads plain chains of weights and biases alone, not {names[:4]} with skips or without.")
    return pairs


def plan_of(architecture: Architecture) -> str:
    """Return what one set of layers can serve: depth, inputs, outputs and kernels, not the hidden widths."""
    shapes = [architecture.layout.shapes[weight] for weight, _ in pair_tensors(architecture)]
    return f"{shapes[0][1]} {[s[2:] for s in shapes]} {shapes[-1][0]}".replace(".", "_")


@final
class HNP(nn.Module):
    """Equivariant layers and pooling for one plan."""

    def __init__(self, features):
        super().__init__()
        nfn = require_nfn()
        spec, layers, width = nfn.common.network_spec_from_wsfeat(features), [], 1
        for channels in CHANNELS:
            layers += [nfn.layers.HNPLinear(spec, width, channels), nfn.layers.TupleOp(nn.ReLU())]
            width = channels
        self.layers, self.pool = nn.Sequential(*layers), nfn.layers.HNPPool(spec)
        self.width = width * nfn.layers.HNPPool.get_num_outs(spec)

    def forward(self, features) -> Tensor:
        """Return pooled features `(networks, width)`."""
        return self.pool(self.layers(features)).flatten(1)


@final
class NFNNet(nn.Module):
    """NFN-HNP with its default sizes."""

    def __init__(self, train: Networks, outputs: int, hidden: int = 1000):
        super().__init__()
        self.scales, self.description = Scales(train), Description(train)
        plans = {plan_of(group.architecture): group for group in train.groups}
        if len(plans) > MOST_PLANS:
            raise PeerError(
                f"nfn needs its own layers for each of {len(plans)} depths and kernels; at most {MOST_PLANS}."
            )
        self.branches = nn.ModuleDict({plan: HNP(self._features(g.take(torch.arange(1)))) for plan, g in plans.items()})
        inputs = {
            plan: nn.Linear(branch.width + self.description.width, hidden) for plan, branch in self.branches.items()
        }
        self.first = nn.ModuleDict(inputs)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, batch: Batch) -> Tensor:
        """Return raw outputs `(networks, outputs)`."""
        return self.head(torch.cat([self._pooled(group) for group in batch.groups]))

    def _pooled(self, group: Group) -> Tensor:
        plan = plan_of(group.architecture)
        if plan not in self.branches:
            raise PeerError(f"nfn was built for {list(self.branches)}; it can't read {plan}.")
        pooled = self.branches[plan](self._features(group))
        return self.first[plan](torch.cat([pooled, self.description(Batch((group,)))], 1))

    def _features(self, group: Group):
        weights = group.architecture.layout.view(self.scales(group.architecture, group.flat))
        pairs = pair_tensors(group.architecture)
        parts = ([weights[name][:, None] for name in side] for side in zip(*pairs, strict=True))
        return require_nfn().common.WeightSpaceFeatures(*parts)
