"""Face and object detectors, face anti-spoofing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.real.networks.layers import batch_norm, conv, depthwise, linear, prelu
from tests.real.rebuilt import Rebuilt, Weights, normal


def _minifas_block(w: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    x = prelu(w, f"{name}.conv.prelu", batch_norm(w, f"{name}.conv.bn", conv(w, f"{name}.conv.conv", x)))
    x = batch_norm(w, f"{name}.conv_dw.bn", depthwise(w, f"{name}.conv_dw.conv", x, stride=stride, padding=1))
    x = prelu(w, f"{name}.conv_dw.prelu", x)
    return batch_norm(w, f"{name}.project.bn", conv(w, f"{name}.project.conv", x))


def minifasnet(w: Weights, x: Tensor) -> Tensor:
    x = prelu(w, "conv1.prelu", batch_norm(w, "conv1.bn", conv(w, "conv1.conv", x, stride=2, padding=1)))
    x = batch_norm(w, "conv2_dw.bn", depthwise(w, "conv2_dw.conv", x, padding=1))
    x = prelu(w, "conv2_dw.prelu", x)
    for down, stage, blocks in (("conv_23", "conv_3", 4), ("conv_34", "conv_4", 6), ("conv_45", "conv_5", 2)):
        x = _minifas_block(w, down, x, 2)
        for i in range(blocks):
            x = x + _minifas_block(w, f"{stage}.model.{i}", x, 1)
    x = prelu(w, "conv_6_sep.prelu", batch_norm(w, "conv_6_sep.bn", conv(w, "conv_6_sep.conv", x)))
    x = batch_norm(w, "conv_6_dw.bn", depthwise(w, "conv_6_dw.conv", x)).flatten(1)
    return linear(w, "prob", batch_norm(w, "bn", linear(w, "linear", x)))


def _rfb(w: Weights, name: str, x: Tensor) -> Tensor:
    def layer(part: str, x: Tensor, **options) -> Tensor:
        return batch_norm(w, f"{name}.{part}.bn", conv(w, f"{name}.{part}.conv", x, **options))

    branches = []
    for branch, inner, dilation in ((0, 1, 2), (1, 1, 3), (2, 2, 5)):
        y = layer(f"branch{branch}.0", x)
        for i in range(inner):
            y = F.relu(layer(f"branch{branch}.{i + 1}", y, padding=1))
        branches.append(layer(f"branch{branch}.{inner + 1}", y, padding=dilation, dilation=dilation))
    return F.relu(layer("ConvLinear", torch.cat(branches, 1)) + layer("shortcut", x))


def _separable(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    return conv(w, f"{name}.2", F.relu(depthwise(w, f"{name}.0", x, stride=stride, padding=1)))


def ultraface(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Heads after layers 7, 10, 12 and the extra one; boxes of all levels are concatenated."""
    x = F.relu(batch_norm(w, "base_net.0.1", conv(w, "base_net.0.0", x, stride=2, padding=1)))
    levels = []
    for i in range(1, 13):
        name = f"base_net.{i}"
        if f"{name}.shortcut.conv.weight" in w:
            x = _rfb(w, name, x)
        else:
            stride = 2 if i in (2, 4, 8, 11) else 1
            x = F.relu(batch_norm(w, f"{name}.1", depthwise(w, f"{name}.0", x, stride=stride, padding=1)))
            x = F.relu(batch_norm(w, f"{name}.4", conv(w, f"{name}.3", x)))
        if i in (7, 10, 12):
            levels.append(x)
    levels.append(F.relu(_separable(w, "extras.0.2", F.relu(conv(w, "extras.0.0", x)), stride=2)))
    outputs = []
    for kind, width in (("classification", 2), ("regression", 4)):
        maps = [_separable(w, f"{kind}_headers.{i}", level) for i, level in enumerate(levels[:3])]
        maps.append(conv(w, f"{kind}_headers.3", levels[3], padding=1))
        outputs.append(torch.cat([m.permute(0, 2, 3, 1).reshape(len(x), -1, width) for m in maps], 1))
    return outputs[0].softmax(-1), outputs[1]


def _blaze_block(w: Weights, name: str, x: Tensor, *, halve: bool) -> Tensor:
    """New channels of the shortcut are zeros at the end."""
    if halve:
        y, x = depthwise(w, f"{name}.convs.0", F.pad(x, (0, 2, 0, 2)), stride=2), F.max_pool2d(x, 2)
    else:
        y = depthwise(w, f"{name}.convs.0", x, padding=1)
    y = conv(w, f"{name}.convs.1", y)
    return F.relu(y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))


def blazeface(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    x = F.relu(conv(w, "backbone1.0", F.pad(x, (1, 2, 1, 2)), stride=2))
    for i in range(2, 13):
        x = _blaze_block(w, f"backbone1.{i}", x, halve=i in (4, 7))
    h = x
    for i in range(5):
        h = _blaze_block(w, f"backbone2.{i}", h, halve=i == 0)
    boxes, scores = (
        torch.cat(
            [
                conv(w, f"{head}_{scale}", y).permute(0, 2, 3, 1).reshape(len(x), -1, width)
                for scale, y in ((8, x), (16, h))
            ],
            1,
        )
        for head, width in (("regressor", 16), ("classifier", 1))
    )
    return boxes, scores


def _shuffle_block(w: Weights, name: str, x: Tensor) -> Tensor:
    """Even channels pass by, odd ones go through the branch; the first block of a stage keeps both whole."""

    def norm(part: str, y: Tensor) -> Tensor:
        return batch_norm(w, f"{name}.{part}", y)

    stride = 2 if f"{name}.branch_proj.0.weight" in w else 1
    kept, x = (x, x) if stride == 2 else (x[:, ::2], x[:, 1::2])
    y = F.relu(norm("branch_main.1", conv(w, f"{name}.branch_main.0", x)))
    y = norm("branch_main.4", depthwise(w, f"{name}.branch_main.3", y, stride=stride, padding=1))
    y = F.relu(norm("branch_main.6", conv(w, f"{name}.branch_main.5", y)))
    if stride == 2:
        kept = norm("branch_proj.1", depthwise(w, f"{name}.branch_proj.0", kept, stride=2, padding=1))
        kept = F.relu(norm("branch_proj.3", conv(w, f"{name}.branch_proj.2", kept)))
    return torch.cat((kept, y), 1)


def _yolo_head(w: Weights, name: str, x: Tensor) -> Tensor:
    for i in (0, 5):
        x = F.relu(batch_norm(w, f"{name}.block.{i + 1}", depthwise(w, f"{name}.block.{i}", x, padding=2)))
        x = batch_norm(w, f"{name}.block.{i + 4}", conv(w, f"{name}.block.{i + 3}", x))
    return x


def yolo_fastest(w: Weights, x: Tensor) -> tuple[Tensor, ...]:
    x = F.relu(batch_norm(w, "backbone.first_conv.1", conv(w, "backbone.first_conv.0", x, stride=2, padding=1)))
    x, stages = F.max_pool2d(x, 3, 2, 1), []
    for stage, blocks in ((2, 4), (3, 8), (4, 4)):
        for i in range(blocks):
            x = _shuffle_block(w, f"backbone.stage{stage}.{i}", x)
        stages.append(x)
    fine = torch.cat((F.interpolate(x, scale_factor=2), stages[1]), 1)
    outputs = []
    for level, y in ((2, fine), (3, x)):
        y = F.relu(batch_norm(w, f"fpn.conv1x1_{level}.1", conv(w, f"fpn.conv1x1_{level}.0", y)))
        classes, boxes = (_yolo_head(w, f"fpn.{head}_head_{level}", y) for head in ("cls", "reg"))
        outputs += [conv(w, "output_reg_layers", boxes)]
        outputs += [conv(w, f"output_{part}_layers", classes) for part in ("obj", "cls")]
    return tuple(outputs)


NETWORKS = (
    Rebuilt("minifasnet_v2", minifasnet, normal((1, 3, 80, 80))),
    Rebuilt("ultraface_*", ultraface, normal((1, 3, 64, 64))),
    Rebuilt("blazeface", blazeface, normal((1, 3, 64, 64))),
    Rebuilt(
        "yolo_fastestv2_coco",
        yolo_fastest,
        normal((1, 3, 64, 64)),
        assumed="the activation after each reducing 1x1 convolution",
    ),
)
