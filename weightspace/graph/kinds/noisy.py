"""Noisy linear layers (Fortunato et al. 2018): mean, deviation and the last noise drawn, all on the same axes."""

from __future__ import annotations

import re

from weightspace.graph.axes import Leaf
from weightspace.graph.kinds.layer import Group, Layer, Layout, block, on

ROLE = re.compile(r"^(weight|bias)_(mu|sigma|eps(ilon)?)$")


def read(group: Group, layout: Layout) -> Layer | None:
    """Read `weight_mu`, `weight_sigma`, `bias_mu`, ... of one linear layer."""
    shape = group.shape("weight_mu")
    if len(shape) != 2 or not all(map(ROLE.match, group.tensors)):
        return None
    entry, exit_ = f"{group.path}.in", f"{group.path}.out"
    blocks = [
        block(info, "linear", (Leaf(exit_), Leaf(entry)), "oi")
        if role.startswith("weight")
        else on(info, "bias", exit_)
        for role, info in group.tensors.items()
    ]
    return Layer(group.path, "linear", blocks, {exit_: shape[0], entry: shape[1]}, entry, exit_)
