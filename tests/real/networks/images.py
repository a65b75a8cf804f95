"""Small image networks: classifiers, discriminators, generators, heads on features, cascades."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tests.real.networks.layers import batch_norm, conv, conv_hwio, linear, mlp, prelu
from tests.real.rebuilt import Rebuilt, Weights, normal


def lenet5(w: Weights, x: Tensor) -> Tensor:
    for name in ("c1", "c3"):
        x = F.max_pool2d(F.relu(conv(w, f"convnet.{name}", x)), 2)
    x = F.relu(conv(w, "convnet.c5", x)).flatten(1)
    return mlp(w, ("fc.f6", "fc.f7"), x, F.relu).log_softmax(-1)


def discriminator(w: Weights, x: Tensor) -> Tensor:
    x = F.leaky_relu(conv(w, "main.0", x, stride=2, padding=1), 0.2)
    for i in (2, 5):
        x = F.leaky_relu(batch_norm(w, f"main.{i + 1}", conv(w, f"main.{i}", x, stride=2, padding=1)), 0.2)
    return conv(w, "main.8", x).sigmoid()


def mlp_generator(w: Weights, z: Tensor) -> Tensor:
    return mlp(w, ("0", "2", "4"), z, F.relu).tanh()


def pnet(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    x = F.max_pool2d(prelu(w, "prelu1", conv(w, "conv1", x)), 2, ceil_mode=True)
    x = prelu(w, "prelu2", conv(w, "conv2", x))
    x = prelu(w, "prelu3", conv(w, "conv3", x))
    return conv(w, "conv4_2", x), conv(w, "conv4_1", x).softmax(1)


def onet(w: Weights, x: Tensor) -> tuple[Tensor, ...]:
    """The feature map is flattened as (width, height, channel)."""
    for i, pool in ((1, 3), (2, 3), (3, 2)):
        x = F.max_pool2d(prelu(w, f"prelu{i}", conv(w, f"conv{i}", x)), pool, 2, ceil_mode=True)
    x = prelu(w, "prelu4", conv(w, "conv4", x)).permute(0, 3, 2, 1).flatten(1)
    x = prelu(w, "prelu5", linear(w, "dense5", x))
    return linear(w, "dense6_2", x), linear(w, "dense6_3", x), linear(w, "dense6_1", x).softmax(1)


def lpips_heads(w: Weights, *features: Tensor) -> Tensor:
    heads = (conv(w, f"lin{i}.model.1", x).mean((2, 3)) for i, x in enumerate(features))
    return torch.cat(list(heads), 1).sum(1)


def squared_differences(w: Weights, generator: Generator) -> tuple[Tensor, ...]:
    channels = (w[f"lin{i}.model.1.weight"].shape[1] for i in range(len(w)))
    return tuple(torch.rand(2, c, 3, 3, generator=generator, dtype=torch.float64) for c in channels)


def srgan(w: Weights, x: Tensor) -> Tensor:
    first = x = prelu(w, "block1.1", conv(w, "block1.0", x, padding=4))
    for i in range(2, 7):
        y = batch_norm(w, f"block{i}.bn1", conv(w, f"block{i}.conv1", x, padding=1))
        y = conv(w, f"block{i}.conv2", prelu(w, f"block{i}.prelu", y), padding=1)
        x = x + batch_norm(w, f"block{i}.bn2", y)
    x = first + prelu(w, "block7.1", conv(w, "block7.0", x, padding=1))
    for i in (0, 1):
        x = F.pixel_shuffle(conv(w, f"block8.{i}.conv", x, padding=1), 2)
        x = prelu(w, f"block8.{i}.prelu", x)
    return (conv(w, "block8.2", x, padding=4).tanh() + 1) / 2


def esrgan_slim(w: Weights, x: Tensor) -> Tensor:
    """Enlarged by repeating pixels, so the 3 * scale**2 channels of UPN3 are plain channels."""

    def layer(name: str, x: Tensor) -> Tensor:
        return conv_hwio(x, w[f"{name}/kernel"], w[f"{name}/bias"])

    shallow = layer("F_m1", x)
    dense, x = [], layer("F_0", shallow)
    for d in (1, 2):
        x = layer(f"LFF_{d}", torch.cat((x, F.relu(layer(f"F_{d}_1", x))), 1)) + x
        dense.append(x)
    x = layer("GFF_2", layer("GFF_1", torch.cat(dense, 1))) + shallow
    x = layer("UPN3", F.relu(layer("UPN2", F.relu(layer("UPN1", x)))))
    scale = round((x.shape[1] / 3) ** 0.5)
    return layer("SR", F.interpolate(x, scale_factor=scale, mode="nearest"))


NETWORKS = (
    Rebuilt("mnist_lenet5", lenet5, normal((3, 1, 32, 32))),
    Rebuilt("mnist_dcgan_discriminator", discriminator, normal((2, 1, 32, 32))),
    Rebuilt("mnist_gan_mlp_generator", mlp_generator, normal((3, 64))),
    Rebuilt("mtcnn_pnet", pnet, normal((2, 3, 16, 16))),
    Rebuilt("mtcnn_onet", onet, normal((2, 3, 48, 48))),
    Rebuilt("lpips_lin_*", lpips_heads, squared_differences, assumed="the features come from another file"),
    Rebuilt("srgan_generator_x4", srgan, normal((1, 3, 6, 6))),
    Rebuilt("esrgan_slim_x*", esrgan_slim, normal((1, 3, 8, 8))),
)
