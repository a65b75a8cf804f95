"""Second moments of what each weight matrix is multiplied with, read off the running network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from weightspace.decode.codec.source import Source

WATCHED = 256
"""Inputs that are shown."""

WIDEST = 4608
"""Columns of the widest matrix whose moments are kept."""


def input_moments(source: Source) -> dict[str, Float64[np.ndarray, "columns columns"]]:
    """Return `mean of x x^T` over the inputs `x` of each matrix, by tensor name; only of those whose use is plain.

    Plain are products with a matrix or its transpose, and convolutions of one group without dilation.
    """
    behaviour = source.behaviour
    assert behaviour is not None
    watch = _Watch({p.name: p.sizes for p in source.layout.places if not p.is_vector})
    device = behaviour.inputs.device
    held = {name: t.to(device) for name, t in source.tensors.items()}
    watch.owners = {t.data_ptr(): name for name, t in held.items() if name in watch.sizes}
    with torch.no_grad(), watch:
        torch.func.functional_call(behaviour.module, held, (behaviour.inputs[:WATCHED],))
    return {name: (total / watch.counts[name]).cpu().numpy() for name, total in watch.totals.items()}


class _Watch(TorchDispatchMode):
    """Adds up the moments of each product with a watched tensor."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.sizes = sizes
        self.owners: dict[int, str] = {}
        self.totals: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what is multiplied, and go on."""
        name = str(func)
        if (
            name == "aten.convolution.default"
            and args[8] == 1
            and not args[6]
            and set(args[5]) == {1}
            and args[0].ndim == 4
        ):
            x, weight = args[0], args[1]
            patches = nn.functional.unfold(x, weight.shape[2:], padding=args[4], stride=args[3])
            self._add(weight, patches.transpose(1, 2).flatten(0, 1))
        elif name in ("aten.mm.default", "aten.addmm.default"):
            x, weight = args[-2], args[-1]
            self._add(weight, x)
        return func(*args, **(kwargs or {}))

    def _add(self, weight: Tensor, x: Tensor) -> None:
        name = self.owners.get(weight.data_ptr())
        if name is None or x.shape[1] != self.sizes[name][1] or x.shape[1] > WIDEST:
            return
        wide = x.double()
        self.totals[name] = self.totals.get(name, 0) + wide.T @ wide
        self.counts[name] = self.counts.get(name, 0) + len(x)
