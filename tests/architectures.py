"""Sixteen architectures as plain PyTorch modules. Each builds at many sizes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tests.image_modules import VGG, Generator, LeNet5, MobileNet, ResNet, SENet, UNet
from tests.sequence_modules import GPT, ActorCritic, Llama, Recurrent, ViT


def mlp(fan_in=5, hidden1=7, hidden2=6, classes=4):
    return nn.Sequential(
        nn.Linear(fan_in, hidden1), nn.ReLU(), nn.Linear(hidden1, hidden2), nn.ReLU(), nn.Linear(hidden2, classes)
    )


def transformer_encoder(heads=2, head_dim=4, hidden=10, depth=2):
    layer = nn.TransformerEncoderLayer(heads * head_dim, heads, hidden, batch_first=True)
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)


def attention(heads=3, head_dim=4):
    return nn.MultiheadAttention(heads * head_dim, heads, batch_first=True)


def floats(*shape: Callable[[Mapping[str, int]], int] | int):
    """Make normal inputs; a dimension may depend on the sizes."""

    def inputs(sizes: Mapping[str, int], batch: int = 2, seed: int = 0) -> tuple[Tensor, ...]:
        dims = [n(sizes) if callable(n) else n for n in shape]
        return (torch.randn(batch, *dims, generator=torch.Generator().manual_seed(seed)),)

    return inputs


def tokens(length: int):
    def inputs(sizes: Mapping[str, int], batch: int = 2, seed: int = 0) -> tuple[Tensor, ...]:
        return (torch.randint(sizes["vocab"], (batch, length), generator=torch.Generator().manual_seed(seed)),)

    return inputs


def attention_inputs(sizes: Mapping[str, int], batch: int = 2, seed: int = 0) -> tuple[Tensor, ...]:
    width, g = sizes["heads"] * sizes["head_dim"], torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, length, width, generator=g) for length in (4, 5, 5))


@dataclass(frozen=True)
class Architecture:
    """A module to build and inputs to run it on.

    Args:
        build: `build(**sizes)` returns the module, in training mode as PyTorch makes it.
        inputs: `inputs(sizes, batch=2, seed=0)` returns the positional arguments.
        sizes: Default of each size; every one may be drawn anew (`draws`).
        draws: Values each size may take; those not named stay at their default.
    """

    build: Callable[..., nn.Module]
    inputs: Callable[..., tuple[Tensor, ...]]
    sizes: Mapping[str, int]
    draws: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def lstm(**sizes):
    return Recurrent(nn.LSTM, **sizes)


def bidirectional_gru(**sizes):
    return Recurrent(nn.GRU, layers=2, bidirectional=True, **sizes)


def vgg_bn(width1=6, width2=8, width3=10, hidden=12, classes=5):
    return VGG((width1, width2, width3), hidden, classes)


SMALL = (2, 3, 4, 5, 6, 7)
ARCHITECTURES = {
    "mlp": Architecture(
        mlp,
        floats(lambda s: s["fan_in"]),
        {"fan_in": 5, "hidden1": 7, "hidden2": 6, "classes": 4},
        {"fan_in": SMALL, "hidden1": SMALL, "hidden2": SMALL, "classes": SMALL},
    ),
    "lenet5": Architecture(
        LeNet5,
        floats(1, 16, 16),
        {"maps1": 6, "maps2": 16, "hidden1": 20, "hidden2": 14, "classes": 10},
        {"maps1": SMALL, "maps2": SMALL, "hidden1": SMALL, "hidden2": SMALL},
    ),
    "vgg_bn": Architecture(
        vgg_bn,
        floats(3, 16, 16),
        {"width1": 6, "width2": 8, "width3": 10, "hidden": 12, "classes": 5},
        {"width1": SMALL, "width2": SMALL, "width3": SMALL, "hidden": SMALL},
    ),
    "resnet20": Architecture(
        ResNet, floats(3, 8, 8), {"width": 16, "blocks": 3, "classes": 10}, {"width": (4, 8), "blocks": (1,)}
    ),
    "mobilenet": Architecture(
        MobileNet,
        floats(3, 16, 16),
        {"stem": 4, "width": 6, "head": 10, "expand": 2, "classes": 5},
        {"stem": SMALL, "width": SMALL, "head": SMALL, "expand": (2, 3)},
    ),
    "unet": Architecture(UNet, floats(3, 8, 8), {"width": 4, "classes": 3}, {"width": (2, 3, 4, 5)}),
    "dcgan_generator": Architecture(
        Generator,
        floats(lambda s: s["nz"], 1, 1),
        {"nz": 8, "ngf": 5, "nc": 3},
        {"nz": SMALL, "ngf": (2, 3, 4, 5), "nc": (1, 3)},
    ),
    "senet": Architecture(
        SENet,
        floats(3, 8, 8),
        {"channels": 8, "squeezed": 3, "depth": 2, "classes": 5},
        {"channels": SMALL, "squeezed": (2, 3, 4), "depth": (1, 2)},
    ),
    "lstm": Architecture(
        lstm,
        tokens(4),
        {"vocab": 11, "embed": 5, "hidden": 6, "layers": 1, "classes": 4},
        {"embed": SMALL, "hidden": SMALL, "layers": (1, 2)},
    ),
    "bidirectional_gru": Architecture(
        bidirectional_gru,
        tokens(3),
        {"vocab": 11, "embed": 5, "hidden": 6, "classes": 4},
        {"embed": SMALL, "hidden": SMALL},
    ),
    "vit": Architecture(
        ViT,
        floats(3, 8, 8),
        {"dim": 6, "heads": 3, "head_dim": 4, "hidden": 10, "depth": 2, "classes": 5},
        {"dim": SMALL, "heads": (2, 3, 4), "head_dim": (2, 3, 4), "hidden": SMALL, "depth": (1, 2)},
    ),
    "gpt": Architecture(
        GPT,
        tokens(8),
        {"vocab": 11, "heads": 2, "head_dim": 4, "hidden": 10, "context": 8, "depth": 2},
        {"heads": (2, 3), "head_dim": (2, 3, 4), "hidden": SMALL, "depth": (1, 2)},
    ),
    "llama": Architecture(
        Llama,
        tokens(6),
        {"vocab": 11, "width": 6, "kv_heads": 2, "groups": 3, "head_dim": 4, "hidden": 10, "depth": 2},
        {"width": SMALL, "kv_heads": (2, 3), "groups": (2, 3), "head_dim": (4, 6), "hidden": SMALL, "depth": (1, 2)},
    ),
    "transformer_encoder": Architecture(
        transformer_encoder,
        floats(4, lambda s: s["heads"] * s["head_dim"]),
        {"heads": 2, "head_dim": 4, "hidden": 10, "depth": 2},
        {"heads": (2, 3), "head_dim": (2, 3, 4), "hidden": SMALL, "depth": (1, 2)},
    ),
    "multihead_attention": Architecture(
        attention, attention_inputs, {"heads": 3, "head_dim": 4}, {"heads": (2, 3, 4), "head_dim": (2, 3, 4)}
    ),
    "actor_critic": Architecture(
        ActorCritic,
        floats(lambda s: s["observations"]),
        {"observations": 5, "actor": 7, "critic": 6, "actions": 3},
        {"observations": SMALL, "actor": SMALL, "critic": SMALL, "actions": (2, 3)},
    ),
}
