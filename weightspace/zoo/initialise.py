"""First weights of a stack of networks, each from its own seed and by its own scheme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from weightspace.zoo.layout import Layout
from weightspace.zoo.seeds import make_generator


@dataclass(frozen=True)
class Fan:
    """What a scheme may look at: units read and written by one output and input, and whether it is the first layer."""

    fan_in: int
    fan_out: int
    first: bool


def _normal(u: Tensor) -> Tensor:
    return torch.special.ndtri(u)


def _truncated(u: Tensor) -> Tensor:
    """Normal between -2 and 2."""
    low = torch.special.ndtr(torch.tensor(-2.0, dtype=u.dtype))
    return torch.special.ndtri(low + u * (1 - 2 * low))


def _even(u: Tensor) -> Tensor:
    return 2 * u - 1


def _orthogonal(u: Tensor) -> Tensor:
    """Rows or columns orthonormal in each network, signs made unique."""
    normal = _normal(u).flatten(2)
    tall = normal if normal.shape[1] >= normal.shape[2] else normal.transpose(1, 2)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    return (q if tall is normal else q.transpose(1, 2)).reshape(u.shape)


SCHEMES: dict[str, Callable[[Tensor, Fan], Tensor]] = {
    "torch": lambda u, f: _even(u) / sqrt(f.fan_in),
    "he_normal": lambda u, f: _normal(u) * sqrt(2 / f.fan_in),
    "glorot_normal": lambda u, f: _normal(u) * sqrt(2 / (f.fan_in + f.fan_out)),
    "glorot_uniform": lambda u, f: _even(u) * sqrt(6 / (f.fan_in + f.fan_out)),
    "normal": lambda u, f: _normal(u) * 0.05,
    "truncated_normal": lambda u, f: _truncated(u) * 0.05,
    "orthogonal": lambda u, f: _orthogonal(u),
    "siren": lambda u, f: _even(u) * (1 / f.fan_in if f.first else sqrt(6 / f.fan_in) / 30),
}
_RANDOM_BIAS = ("torch", "siren")


def draw_weights(
    layout: Layout, schemes: Sequence[str], scales: Sequence[float], seeds: Sequence[int]
) -> Float[Tensor, "models weights"]:
    """Return the first weights of one network a seed, in one matrix.

    Tensors of two or more dimensions follow the network's scheme times its scale; norm scales are one; biases are zero,
    or uniform in `1 / sqrt(fan_in)` for the schemes `torch` and `siren`. Uniform noise comes from each network's own
    seed, so a network starts the same whatever stands beside it.

    Args:
        layout: Tensors of the architecture.
        schemes: Name in `SCHEMES`, one a network.
        scales: Multiplier of the scheme's standard deviation, one a network.
        seeds: One a network.

    Source: Glorot and Bengio (2010); He et al. (2015); Saxe et al. (2014); Sitzmann et al. (2020), section 3.2.
    """
    noise = torch.stack([_noise(layout.size, seed) for seed in seeds])
    flat = torch.empty(len(seeds), layout.size)
    for scheme in sorted(set(schemes)):
        rows = torch.tensor([i for i, name in enumerate(schemes) if name == scheme])
        scale = torch.tensor([scales[i] for i in rows.tolist()], dtype=torch.float64)
        flat[rows] = _draw_scheme(layout, noise[rows], scheme, scale).float()
    return flat


def _noise(size: int, seed: int) -> Tensor:
    return torch.rand(size, generator=make_generator("weights", seed), dtype=torch.float64).clamp(1e-12, 1 - 1e-12)


def _draw_scheme(layout: Layout, noise: Tensor, scheme: str, scale: Tensor) -> Tensor:
    parts, fan_in, first = [], 1, True
    for name, u in layout.view(noise).items():
        shape = u.shape[1:]
        if len(shape) > 1:
            fan_in = prod(shape[1:])
            drawn = SCHEMES[scheme](u, Fan(fan_in, shape[0] * prod(shape[2:]), first))
            drawn, first = drawn * scale.view(-1, *[1] * len(shape)), False
        elif name.endswith("weight"):
            drawn = torch.ones_like(u)
        else:
            drawn = _even(u) / sqrt(fan_in) if scheme in _RANDOM_BIAS else torch.zeros_like(u)
        parts.append(drawn.flatten(1))
    return torch.cat(parts, 1)
