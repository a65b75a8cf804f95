"""Architecture families of the zoo: one file each, one line in `FAMILIES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from weightspace.errors import RecipeError
from weightspace.zoo.families.gpt_char import GPT
from weightspace.zoo.families.gru_char import CharGRU
from weightspace.zoo.families.mlp import MLP
from weightspace.zoo.families.policy import ActorCritic
from weightspace.zoo.families.resnet_bn import ResNet
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.families.siren import Siren
from weightspace.zoo.families.smallcnn import SmallCNN
from weightspace.zoo.families.vit_tiny import ViT
from weightspace.zoo.families.wildpark import WildPark


@dataclass(frozen=True)
class Family:
    """A way to turn sampled choices into a module.

    Args:
        build: Takes a `Signature` and the choices named by `options`.
        options: Names of the choices and their default values.
        data: What it learns from: `images`, `rows`, `text`, `image` (one image a network) or `control`.
        unsampled: Choices that recipes leave as they are.
    """

    build: Callable[..., nn.Module]
    data: str
    options: Mapping[str, Any]
    unsampled: Mapping[str, Any] = field(default_factory=dict)


FAMILIES = {
    "smallcnn": Family(SmallCNN, "images", {"width": 16, "activation": "relu"}, {"depth": 3}),
    "wildpark": Family(
        WildPark, "images", {"depth": 3, "channels": (8,), "kernels": (3,), "activations": ("relu",), "skips": (-1,)}
    ),
    "mlp": Family(MLP, "rows", {"width": 32, "depth": 2, "activation": "relu"}),
    "resnet_bn": Family(ResNet, "images", {"depth": 8, "width": 16, "activation": "relu"}),
    "siren": Family(Siren, "image", {"width": 32, "depth": 2, "frequency": 30.0}),
    "vit_tiny": Family(ViT, "images", {"width": 32, "depth": 2, "heads": 2, "patch": 4, "activation": "gelu"}),
    "gpt_char": Family(GPT, "text", {"width": 32, "depth": 2, "heads": 2, "activation": "gelu"}),
    "gru_char": Family(CharGRU, "text", {"width": 32}),
    "policy": Family(ActorCritic, "control", {"width": 32, "depth": 2, "activation": "tanh"}),
}


def build_network(family: str, signature: Signature, options: Mapping[str, Any], *, dropout: bool = False) -> nn.Module:
    """Return an untrained module of `family` for data of `signature`.

    Raises:
        RecipeError: The family is unknown, or its options do not fit the data.
    """
    if family not in FAMILIES:
        raise RecipeError(f"family {family!r} is not known; there are {sorted(FAMILIES)}.")
    try:
        return FAMILIES[family].build(signature, dropout=dropout, **options)
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise RecipeError(
            f"family {family!r} with {dict(options)} does not fit data of {signature}: {error}"
        ) from error
