"""What several neural peers are made of: weights on one scale, what is told of architectures, a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.encoder.data import Architecture, Batch, Networks

LIMIT = 30.0


class Scales(nn.Module):
    """Weights divided by a typical size of their tensor, and cut at 30 times it.

    The size is the median over training networks of the root mean square, by tensor name. A network that diverged has
    weights of any size; uncut, one of them would decide a gradient. Tensors of unknown names keep their values.
    """

    def __init__(self, train: Networks):
        super().__init__()
        found: dict[str, list[Tensor]] = {}
        for group in train.groups:
            for name, tensor in group.weights.items():
                found.setdefault(name, []).append(tensor.flatten(1).square().mean(1).sqrt())
        self.sizes = {name: max(float(torch.cat(each).median()), 1e-6) for name, each in found.items()}
        self._rows: dict[str, Tensor] = {}

    def forward(self, architecture: Architecture, flat: Tensor) -> Tensor:
        """Return weights `(models, weights)` on the common scale."""
        key = f"{architecture.identity} {flat.device}"
        if key not in self._rows:
            sizes = [self.sizes.get(name, 1.0) for name in architecture.layout.shapes]
            counts = [int(torch.Size(shape).numel()) for shape in architecture.layout.shapes.values()]
            self._rows[key] = torch.tensor(sizes).repeat_interleave(torch.tensor(counts)).to(flat)
        return (flat / self._rows[key]).clamp(-LIMIT, LIMIT)


class Standard(nn.Module):
    """Features with the training mean 0 and deviation 1, cut at 10 deviations.

    Those that are constant in training are left out; what is missing (NaN) becomes 0.
    """

    def __init__(self, features: Tensor):
        super().__init__()
        known = features.isfinite()
        count = known.sum(0).clamp(min=1)
        mean = torch.where(known, features, 0.0).sum(0) / count
        spread = (torch.where(known, features - mean, 0.0).square().sum(0) / count).sqrt()
        kept = (spread > 1e-6 * (1 + mean.abs())).nonzero()[:, 0]
        self.register_buffer("kept", kept)
        self.register_buffer("mean", mean[kept])
        self.register_buffer("spread", spread[kept])

    @property
    def width(self) -> int:
        """How many features are left."""
        return len(self.kept)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features that vary, standardised."""
        scaled = (features[:, self.kept] - self.mean) / self.spread
        return scaled.nan_to_num(0.0, LIMIT, -LIMIT).clamp(-10, 10)


class Description(nn.Module):
    """What varies among the training architectures: activations, size, depth. Nothing if they are all alike."""

    def __init__(self, train: Networks):
        super().__init__()
        every = Batch(train.groups).describe()
        self.standard = Standard(every)
        self.width = self.standard.width

    def forward(self, batch: Batch) -> Tensor:
        """Return the description of each network's architecture, `(networks, width)`."""
        return self.standard(batch.describe())


class Head(nn.Sequential):
    """Two hidden layers with layer norm, as every peer's read-out but that of `nfn`."""

    def __init__(self, inputs: int, outputs: int, hidden: int = 256, dropout: float = 0.1):
        super().__init__(
            nn.Linear(inputs, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )


def compress(x: Tensor) -> Tensor:
    """Return `sign(x) log(1 + |x|)`: linear near 0, and never large."""
    return x.sign() * x.abs().log1p()
