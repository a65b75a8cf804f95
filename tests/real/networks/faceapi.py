"""face-api.js: depthwise-separable networks with TensorFlow kernels."""

import torch.nn.functional as F
from torch import Tensor

from tests.real.networks.layers import conv_hwio, depthwise_hwcm, pad_same
from tests.real.rebuilt import Rebuilt, Weights, normal


def _plain(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    return conv_hwio(x, w[f"{name}/filters"], w[f"{name}/bias"], stride=(stride, stride))


def _separable(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    x = depthwise_hwcm(x, w[f"{name}/depthwise_filter"], stride=(stride, stride))
    return conv_hwio(x, w[f"{name}/pointwise_filter"], w[f"{name}/bias"])


def _pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(pad_same(x, (3, 3), (2, 2), float("-inf")), 3, 2)


def dense_blocks(w: Weights, x: Tensor) -> Tensor:
    """In each block every output is added to all before it."""
    for block in range(4):
        first = _plain if block == 0 else _separable
        outputs = [first(w, f"dense{block}/conv0", x, 2)]
        x = F.relu(outputs[0])
        outputs[0] = x
        for i in (1, 2, 3):
            outputs.append(_separable(w, f"dense{block}/conv{i}", x))
            x = F.relu(sum(outputs))
    return x.mean((2, 3)) @ w["fc/weights"] + w["fc/bias"]


def _reduction(w: Weights, name: str, x: Tensor, *, activate: bool = True) -> Tensor:
    y = _separable(w, f"{name}/separable_conv0", F.relu(x) if activate else x)
    y = _separable(w, f"{name}/separable_conv1", F.relu(y))
    return _pooled(y) + _plain(w, f"{name}/expansion_conv", x, 2)


def age_gender(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """A small Xception."""
    x = F.relu(_plain(w, "entry_flow/conv_in", x, 2))
    x = _reduction(w, "entry_flow/reduction_block_0", x, activate=False)
    x = _reduction(w, "entry_flow/reduction_block_1", x)
    for block in (0, 1):
        y = x
        for i in range(3):
            y = _separable(w, f"middle_flow/main_block_{block}/separable_conv{i}", F.relu(y))
        x = x + y
    x = F.relu(_separable(w, "exit_flow/separable_conv", _reduction(w, "exit_flow/reduction_block", x)))
    x = x.mean((2, 3))
    age, gender = (x @ w[f"fc/{head}/weights"] + w[f"fc/{head}/bias"] for head in ("age", "gender"))
    return age, gender


def tiny_detector(w: Weights, x: Tensor) -> Tensor:
    x = F.leaky_relu(_plain(w, "conv0", x), 0.1)
    for i in range(1, 6):
        x = F.leaky_relu(_separable(w, f"conv{i}", F.max_pool2d(x, 2)), 0.1)
    return _plain(w, "conv8", x)


NETWORKS = (
    Rebuilt("faceapi_age_gender", age_gender, normal((1, 3, 48, 48))),
    Rebuilt("faceapi_face_[el]*", dense_blocks, normal((1, 3, 48, 48))),
    Rebuilt("faceapi_tiny_face_detector", tiny_detector, normal((1, 3, 64, 64))),
)
