"""Layers as functions of named tensors, in PyTorch's and in TensorFlow's layout."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.real.rebuilt import Weights

CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d}


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def conv(w: Weights, name: str, x: Tensor, **options) -> Tensor:
    weight = w[f"{name}.weight"]
    return CONVOLUTIONS[weight.ndim](x, weight, w.get(f"{name}.bias"), **options)


def depthwise(w: Weights, name: str, x: Tensor, **options) -> Tensor:
    return conv(w, name, x, groups=x.shape[1], **options)


def normalise(x: Tensor, statistics: tuple[Tensor, Tensor], affine: tuple[Tensor, Tensor] | None, eps: float) -> Tensor:
    """Batch norm by (mean, variance) and (scale, shift), written out so that all four have a gradient."""
    mean, var = (t.reshape(-1, *[1] * (x.ndim - 2)) for t in statistics)
    x = (x - mean) / (var + eps).sqrt()
    if affine is None:
        return x
    scale, shift = (t.reshape(-1, *[1] * (x.ndim - 2)) for t in affine)
    return x * scale + shift


def batch_norm(w: Weights, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    affine = (w[f"{name}.weight"], w[f"{name}.bias"]) if f"{name}.weight" in w else None
    return normalise(x, (w[f"{name}.running_mean"], w[f"{name}.running_var"]), affine, eps)


def layer_norm(w: Weights, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    weight = w[f"{name}.weight"]
    return F.layer_norm(x, weight.shape, weight, w[f"{name}.bias"], eps)


def prelu(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.prelu(x, w[f"{name}.weight"])


def mlp(w: Weights, names: tuple[str, ...], x: Tensor, activation) -> Tensor:
    """Linear layers with `activation` between them."""
    for name in names[:-1]:
        x = activation(linear(w, name, x))
    return linear(w, names[-1], x)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    """Heads side by side in the last dimension: `(batch, length, heads * units)`."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


def pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """Pad as TensorFlow's `same` does: the odd element goes last."""
    sides: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        missing = max((-(-size // s) - 1) * s + k - size, 0)
        sides = [missing // 2, missing - missing // 2, *sides]
    return F.pad(x, sides, value=value)


def conv_hwio(x: Tensor, kernel: Tensor, bias: Tensor | None = None, *, stride=(1, 1), padding="same") -> Tensor:
    """Convolve channels-first `x` with a TensorFlow kernel (height, width, in, out)."""
    x = pad_same(x, tuple(kernel.shape[:2]), stride) if padding == "same" else x
    return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride)


def depthwise_hwcm(x: Tensor, kernel: Tensor, bias: Tensor | None = None, *, stride=(1, 1), padding="same") -> Tensor:
    """Depthwise convolution by (height, width, channels, multiplier); the multiplier is minor in the result."""
    x = pad_same(x, tuple(kernel.shape[:2]), stride) if padding == "same" else x
    return F.conv2d(x, kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None], bias, stride, groups=x.shape[1])


def keras(w: Weights, layer: str, part: str) -> Tensor:
    return w[f"{layer}/{layer}/{part}:0"]


def keras_batch_norm(w: Weights, layer: str, x: Tensor) -> Tensor:
    mean, var, scale, shift = (keras(w, layer, p) for p in ("moving_mean", "moving_variance", "gamma", "beta"))
    return normalise(x, (mean, var), (scale, shift), 1e-3)


def gru_torch(w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """One step of PyTorch's cell; gates r, z, n."""
    r_x, z_x, n_x = F.linear(x, w_ih, b_ih).chunk(3, -1)
    r_h, z_h, n_h = F.linear(h, w_hh, b_hh).chunk(3, -1)
    z = torch.sigmoid(z_x + z_h)
    return (1 - z) * torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h) + z * h


def lstm_torch(w_ih: Tensor, w_hh: Tensor, b: Tensor, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of PyTorch's and Keras' cell; gates i, f, g, o. Returns output and cell."""
    h, c = state
    i, f, g, o = (F.linear(x, w_ih) + F.linear(h, w_hh) + b).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
