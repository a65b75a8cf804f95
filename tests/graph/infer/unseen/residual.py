"""Image classifiers of the residual line, named as torchvision, timm and their readers name them."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.graph.infer.unseen.case import Unseen, floats


class Bottleneck(nn.Module):
    def __init__(self, inplanes, planes, stride=1, groups=1, base=1):
        super().__init__()
        width = planes * base
        self.conv1, self.bn1 = nn.Conv2d(inplanes, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, planes * 4, 1, bias=False), nn.BatchNorm2d(planes * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inplanes != planes * 4:
            down = nn.Conv2d(inplanes, planes * 4, 1, stride, bias=False)
            self.downsample = nn.Sequential(down, nn.BatchNorm2d(planes * 4))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class TorchvisionResNet(nn.Module):
    def __init__(self, width=4, groups=1, base=1, classes=5):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.layer1 = self._make(width, width, 2, 1, groups, base)
        self.layer2 = self._make(4 * width, 2 * width, 2, 2, groups, base)
        self.layer3 = self._make(8 * width, 4 * width, 1, 2, groups, base)
        self.fc = nn.Linear(16 * width, classes)

    def _make(self, inplanes, planes, count, stride, groups, base):
        blocks = [Bottleneck(inplanes, planes, stride, groups, base)]
        return nn.Sequential(*blocks, *(Bottleneck(4 * planes, planes, 1, groups, base) for _ in range(count - 1)))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class NormedBlock(nn.Module):
    """A basic block whose norms are group norms, though they are called bn."""

    def __init__(self, fan_in, fan_out, groups, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False), nn.GroupNorm(groups, fan_out)
        self.conv2, self.bn2 = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False), nn.GroupNorm(groups, fan_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or fan_in != fan_out:
            short = nn.Conv2d(fan_in, fan_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(short, nn.GroupNorm(groups, fan_out))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class GroupNormResNet(nn.Module):
    def __init__(self, width=8, groups=4, classes=5):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.GroupNorm(groups, width)
        self.layer1 = nn.Sequential(NormedBlock(width, width, groups), NormedBlock(width, width, groups))
        self.layer2 = nn.Sequential(NormedBlock(width, 2 * width, groups, 2), NormedBlock(2 * width, 2 * width, groups))
        self.linear = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.linear(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))).mean((2, 3)))


class PreActBlock(nn.Module):
    def __init__(self, fan_in, fan_out, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(fan_in), nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(fan_out), nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.equal = fan_in == fan_out
        self.convShortcut = None if self.equal else nn.Conv2d(fan_in, fan_out, 1, stride, bias=False)

    def forward(self, x):
        out = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(out))))
        return y + (x if self.equal else self.convShortcut(out))


class WideResNet(nn.Module):
    def __init__(self, width=4, widen=2, classes=5):
        super().__init__()
        n = [width, width * widen, 2 * width * widen]
        self.conv1 = nn.Conv2d(3, n[0], 3, 1, 1, bias=False)
        self.block1 = nn.Sequential(PreActBlock(n[0], n[1], 1), PreActBlock(n[1], n[1], 1))
        self.block2 = nn.Sequential(PreActBlock(n[1], n[2], 2), PreActBlock(n[2], n[2], 1))
        self.bn1, self.fc = nn.BatchNorm2d(n[2]), nn.Linear(n[2], classes)

    def forward(self, x):
        return self.fc(F.relu(self.bn1(self.block2(self.block1(self.conv1(x))))).mean((2, 3)))


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(1e-6 * torch.ones(dim))

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))).permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, dim=6, wide=10, classes=5):
        super().__init__()
        self.downsample_layers = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, dim, 4, 4), ChannelNorm(dim)),
                nn.Sequential(ChannelNorm(dim), nn.Conv2d(dim, wide, 2, 2)),
            ]
        )
        self.stages = nn.ModuleList(
            [
                nn.Sequential(ConvNeXtBlock(dim), ConvNeXtBlock(dim)),
                nn.Sequential(ConvNeXtBlock(wide), ConvNeXtBlock(wide)),
            ]
        )
        self.norm, self.head = nn.LayerNorm(wide), nn.Linear(wide, classes)

    def forward(self, x):
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return self.head(self.norm(x.mean((-2, -1))))


IMAGE = floats((2, 3, 16, 16))
CASES = {
    "resnet_bottleneck": Unseen(TorchvisionResNet, IMAGE, {"width": 5}),
    "resnext": Unseen(
        lambda **s: TorchvisionResNet(**({"width": 4, "groups": 2, "base": 2} | s)), IMAGE, {"groups": 4}
    ),
    "resnet_group_norm": Unseen(GroupNormResNet, IMAGE, {"width": 6, "groups": 3}),
    "wide_resnet": Unseen(WideResNet, IMAGE, {"width": 3, "widen": 3}),
    "convnext": Unseen(ConvNeXt, IMAGE, {"dim": 4, "wide": 8}),
}
