"""Image networks with other wiring: growing and branching concatenations, shuffles, gates, generators."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.graph.infer.unseen.case import Unseen, floats


class DenseLayer(nn.Module):
    def __init__(self, fan_in, growth, bn_size):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(fan_in), nn.Conv2d(fan_in, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth)
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)

    def forward(self, features):
        x = self.conv1(F.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseBlock(nn.ModuleDict):
    def __init__(self, layers, fan_in, growth, bn_size):
        super().__init__()
        for i in range(layers):
            self.add_module(f"denselayer{i + 1}", DenseLayer(fan_in + i * growth, growth, bn_size))

    def forward(self, x):
        features = [x]
        for layer in self.values():
            features.append(layer(features))
        return torch.cat(features, 1)


class DenseNet(nn.Module):
    def __init__(self, stem=8, growth=4, bn_size=2, layers=3, classes=5):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, stem, 3, 1, 1, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(stem))
        self.features.add_module("relu0", nn.ReLU())
        width = stem
        for i in range(2):
            self.features.add_module(f"denseblock{i + 1}", DenseBlock(layers, width, growth, bn_size))
            width += layers * growth
            if i == 0:
                trans = nn.Sequential()
                trans.add_module("norm", nn.BatchNorm2d(width))
                trans.add_module("relu", nn.ReLU())
                trans.add_module("conv", nn.Conv2d(width, width // 2, 1, bias=False))
                trans.add_module("pool", nn.AvgPool2d(2, 2))
                self.features.add_module(f"transition{i + 1}", trans)
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))


class BasicConv2d(nn.Module):
    def __init__(self, fan_in, fan_out, **kwargs):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(fan_in, fan_out, bias=False, **kwargs), nn.BatchNorm2d(fan_out)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class InceptionA(nn.Module):
    def __init__(self, fan_in, a, b, c, pool):
        super().__init__()
        self.branch1x1 = BasicConv2d(fan_in, a, kernel_size=1)
        self.branch5x5_1 = BasicConv2d(fan_in, b, kernel_size=1)
        self.branch5x5_2 = BasicConv2d(b, a, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(fan_in, a, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(a, c, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(c, c, kernel_size=3, padding=1)
        self.branch_pool = BasicConv2d(fan_in, pool, kernel_size=1)

    def forward(self, x):
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), three, pooled], 1)


class Inception(nn.Module):
    def __init__(self, stem=6, a=4, b=3, c=5, pool=2, classes=5):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, stem, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(stem, stem, kernel_size=3, padding=1)
        self.Mixed_5b = InceptionA(stem, a, b, c, pool)
        self.Mixed_5c = InceptionA(2 * a + c + pool, a, b, c, pool)
        self.fc = nn.Linear(2 * a + c + pool, classes)

    def forward(self, x):
        return self.fc(self.Mixed_5c(self.Mixed_5b(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))).mean((2, 3)))


class Fire(nn.Module):
    def __init__(self, fan_in, squeeze, expand1, expand3):
        super().__init__()
        self.squeeze = nn.Conv2d(fan_in, squeeze, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand1, 1), nn.Conv2d(squeeze, expand3, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self, stem=6, squeeze=3, expand=4, classes=5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(stem, squeeze, expand, expand),
            Fire(2 * expand, squeeze, expand, expand),
            Fire(2 * expand, squeeze + 1, expand + 1, expand + 1),
        )
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(2 * expand + 2, classes, 1), nn.ReLU())

    def forward(self, x):
        return self.classifier(self.features(x)).mean((2, 3))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduced):
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.conv_expand(F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    def __init__(self, fan_in, fan_out, expand, stride):
        super().__init__()
        mid = fan_in * expand
        self.conv_pw, self.bn1 = nn.Conv2d(fan_in, mid, 1, bias=False), nn.BatchNorm2d(mid)
        self.conv_dw = nn.Conv2d(mid, mid, 3, stride, 1, groups=mid, bias=False)
        self.bn2, self.se = nn.BatchNorm2d(mid), SqueezeExcite(mid, max(2, fan_in // 4))
        self.conv_pwl, self.bn3 = nn.Conv2d(mid, fan_out, 1, bias=False), nn.BatchNorm2d(fan_out)
        self.skip = stride == 1 and fan_in == fan_out

    def forward(self, x):
        y = F.silu(self.bn2(self.conv_dw(F.silu(self.bn1(self.conv_pw(x))))))
        y = self.bn3(self.conv_pwl(self.se(y)))
        return x + y if self.skip else y


class EfficientNet(nn.Module):
    def __init__(self, stem=8, width=10, head=12, expand=3, classes=5):
        super().__init__()
        self.conv_stem, self.bn1 = nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem)
        first = nn.Sequential(MBConv(stem, stem, expand, 1), MBConv(stem, stem, expand, 1))
        self.blocks = nn.Sequential(
            first, nn.Sequential(MBConv(stem, width, expand, 2), MBConv(width, width, expand, 1))
        )
        self.conv_head, self.bn2 = nn.Conv2d(width, head, 1, bias=False), nn.BatchNorm2d(head)
        self.classifier = nn.Linear(head, classes)

    def forward(self, x):
        x = self.blocks(F.silu(self.bn1(self.conv_stem(x))))
        return self.classifier(F.silu(self.bn2(self.conv_head(x))).mean((2, 3)))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, half are convolved; then both are interleaved."""

    def __init__(self, fan_in, fan_out, stride):
        super().__init__()
        self.stride, half = stride, fan_out // 2
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                nn.Conv2d(fan_in, fan_in, 3, stride, 1, groups=fan_in, bias=False),
                nn.BatchNorm2d(fan_in),
                nn.Conv2d(fan_in, half, 1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(inplace=True),
            )
        self.branch2 = nn.Sequential(
            nn.Conv2d(fan_in if stride > 1 else half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        if self.stride > 1:
            out = torch.cat((self.branch1(x), self.branch2(x)), 1)
        else:
            left, right = x.chunk(2, dim=1)
            out = torch.cat((left, self.branch2(right)), 1)
        b, c, h, w = out.shape
        return out.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class ShuffleNet(nn.Module):
    def __init__(self, stem=6, width=12, last=14, classes=5):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.stage2 = nn.Sequential(ShuffleUnit(stem, width, 2), ShuffleUnit(width, width, 1))
        self.stage3 = nn.Sequential(ShuffleUnit(width, 2 * width, 2), ShuffleUnit(2 * width, 2 * width, 1))
        self.conv5 = nn.Sequential(nn.Conv2d(2 * width, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU())
        self.fc = nn.Linear(last, classes)

    def forward(self, x):
        return self.fc(self.conv5(self.stage3(self.stage2(self.conv1(x)))).mean((2, 3)))


class TimeBlock(nn.Module):
    """A residual block of a diffusion model: the time embedding is added between its two convolutions."""

    def __init__(self, fan_in, fan_out, time, groups):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, fan_in), nn.Conv2d(fan_in, fan_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, fan_out)
        self.norm2, self.conv2 = nn.GroupNorm(groups, fan_out), nn.Conv2d(fan_out, fan_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(fan_in, fan_out, 1) if fan_in != fan_out else nn.Identity()

    def forward(self, x, t):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(t))[:, :, None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class DiffusionUNet(nn.Module):
    def __init__(self, width=8, time=10, groups=4):
        super().__init__()
        self.width = width
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(width, time), "linear_2": nn.Linear(time, time)})
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down_blocks = nn.ModuleList(
            [TimeBlock(width, width, time, groups), TimeBlock(width, 2 * width, time, groups)]
        )
        self.downsample = nn.Conv2d(width, width, 3, 2, 1)
        self.mid_block = TimeBlock(2 * width, 2 * width, time, groups)
        self.up_blocks = nn.ModuleList(
            [TimeBlock(4 * width, width, time, groups), TimeBlock(2 * width, width, time, groups)]
        )
        self.conv_norm_out, self.conv_out = nn.GroupNorm(groups, width), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x, t):
        rate = torch.exp(-math.log(100) * torch.arange(self.width // 2, dtype=x.dtype) / (self.width // 2))
        t = torch.cat(((t[:, None] * rate).sin(), (t[:, None] * rate).cos()), 1)
        t = self.time_embedding["linear_2"](F.silu(self.time_embedding["linear_1"](t)))
        first = self.down_blocks[0](self.conv_in(x), t)
        second = self.down_blocks[1](self.downsample(first), t)
        x = self.mid_block(second, t)
        x = F.interpolate(self.up_blocks[0](torch.cat((x, second), 1), t), scale_factor=2)
        x = self.up_blocks[1](torch.cat((x, first), 1), t)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class StyleGenerator(nn.Module):
    """Instance norm whose scale and shift come from a style vector."""

    def __init__(self, style=4, width=8, images=3):
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(style, 7), nn.LeakyReLU(0.2), nn.Linear(7, 6), nn.LeakyReLU(0.2))
        self.const = nn.Parameter(torch.randn(1, width, 4, 4))
        self.conv1, self.style1 = nn.Conv2d(width, width, 3, padding=1), nn.Linear(6, 2 * width)
        self.conv2, self.style2 = nn.Conv2d(width, width, 3, padding=1), nn.Linear(6, 2 * width)
        self.to_rgb = nn.Conv2d(width, images, 1)

    @staticmethod
    def _styled(x, style):
        gain, shift = style[:, :, None, None].chunk(2, 1)
        return F.instance_norm(x) * (1 + gain) + shift

    def forward(self, z):
        w = self.mapping(z)
        x = self._styled(F.leaky_relu(self.conv1(self.const.expand(len(z), -1, -1, -1)), 0.2), self.style1(w))
        x = F.interpolate(x, scale_factor=2)
        return self.to_rgb(self._styled(F.leaky_relu(self.conv2(x), 0.2), self.style2(w)))


class UpscaleNet(nn.Module):
    """Super-resolution: instance norms, a global skip, two pixel shuffles."""

    def __init__(self, width=8, blocks=2):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.InstanceNorm2d(width, affine=True),
                nn.PReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.InstanceNorm2d(width, affine=True),
            )
            for _ in range(blocks)
        )
        self.upsample = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(width, 12, 3, padding=1)
        )

    def forward(self, x):
        x = skip = self.head(x)
        for block in self.body:
            x = x + block(x)
        return F.pixel_shuffle(self.upsample(x + skip), 2)


IMAGE = floats((2, 3, 16, 16))
CASES = {
    "densenet": Unseen(DenseNet, IMAGE, {"stem": 6, "growth": 3, "layers": 2}),
    "inception": Unseen(Inception, IMAGE, {"stem": 8, "a": 4, "b": 4, "c": 4, "pool": 4}),
    "squeezenet": Unseen(SqueezeNet, IMAGE, {"stem": 8, "squeeze": 4, "expand": 5}),
    "squeezenet_by_four": Unseen(
        lambda **sizes: SqueezeNet(**({"stem": 16, "squeeze": 4, "expand": 16} | sizes)), IMAGE, {"stem": 8}
    ),
    "efficientnet": Unseen(EfficientNet, IMAGE, {"stem": 4, "width": 8, "head": 16, "expand": 2}),
    "shufflenet": Unseen(ShuffleNet, IMAGE, {"stem": 12, "width": 12}),
    "diffusion_unet": Unseen(DiffusionUNet, floats((2, 3, 8, 8), (2,)), {"width": 6, "groups": 3, "time": 24}),
    "style_generator": Unseen(StyleGenerator, floats((2, 4)), {"width": 6}),
    "upscaler": Unseen(UpscaleNet, floats((2, 3, 6, 6)), {"width": 12, "blocks": 1}),
}
