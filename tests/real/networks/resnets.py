"""Residual classifiers."""

import torch.nn.functional as F
from torch import Tensor

from tests.real.networks.layers import batch_norm, conv, conv_hwio, keras, keras_batch_norm, linear
from tests.real.rebuilt import Rebuilt, Weights, normal


def cifar_resnet(w: Weights, x: Tensor) -> Tensor:
    """Option-A shortcuts: every other pixel, a quarter of the new channels as zeros on each side."""
    x = F.relu(batch_norm(w, "bn1", conv(w, "conv1", x, padding=1)))
    for stage in (1, 2, 3):
        blocks = sum(name.startswith(f"layer{stage}.") and name.endswith("conv1.weight") for name in w)
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(batch_norm(w, f"{name}.bn1", conv(w, f"{name}.conv1", x, stride=stride, padding=1)))
            y = batch_norm(w, f"{name}.bn2", conv(w, f"{name}.conv2", y, padding=1))
            if stride == 2:
                quarter = y.shape[1] // 4
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = F.relu(x + y)
    return linear(w, "linear", x.mean((2, 3)))


def keras_resnet8(w: Weights, x: Tensor) -> Tensor:
    def layer(number: int, x: Tensor, stride: int = 1) -> Tensor:
        name = f"conv2d_{number}" if number else "conv2d"
        return conv_hwio(x, keras(w, name, "kernel"), keras(w, name, "bias"), stride=(stride, stride))

    def norm(number: int, x: Tensor) -> Tensor:
        return keras_batch_norm(w, f"batch_normalization_{number}" if number else "batch_normalization", x)

    x = F.relu(norm(0, layer(0, x)))
    x = F.relu(x + norm(2, layer(2, F.relu(norm(1, layer(1, x))))))
    for first, bn in ((3, 3), (6, 5)):
        y = norm(bn + 1, layer(first + 1, F.relu(norm(bn, layer(first, x, 2)))))
        x = F.relu(layer(first + 2, x, 2) + y)
    return (x.mean((2, 3)) @ keras(w, "dense", "kernel") + keras(w, "dense", "bias")).softmax(-1)


def honk_res8(w: Weights, x: Tensor) -> Tensor:
    """ReLU before batch norm without affine; the pruned ones scale the inner channels."""
    x = old = F.avg_pool2d(F.relu(conv(w, "conv0", x, padding=1)), (4, 3))
    for i in range(1, 7):
        x = F.relu(conv(w, f"conv{i}", x, padding=1))
        if f"scale{i}.scale" in w:
            x = x * w[f"scale{i}.scale"][:, None, None]
        if i % 2 == 0:
            x = old = x + old
        x = batch_norm(w, f"bn{i}", x)
    return linear(w, "output", x.mean((2, 3)))


NETWORKS = (
    Rebuilt("cifar10_resnet*", cifar_resnet, normal((2, 3, 16, 16))),
    Rebuilt("mlperf_tiny_resnet8", keras_resnet8, normal((2, 3, 32, 32))),
    Rebuilt(
        "honk/*",
        honk_res8,
        normal((2, 1, 24, 12)),
        unused=("*.num_batches_tracked", "*_indices"),
        why="counters, and numbers of the channels that pruning kept",
        assumed="where the scale stands (pointwise on the inner channels either way); pooling size",
    ),
)
