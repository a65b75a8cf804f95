"""Activations by name."""

from __future__ import annotations

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def make_activation(name: str) -> nn.Module:
    """Return the activation called `name`; a `ValueError` lists the known ones."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not known; there are {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
