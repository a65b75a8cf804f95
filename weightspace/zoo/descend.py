"""First weights of a descendant, made from those of its parents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weightspace.execute.stack import Stacked, stack_tensors, unstack_tensors
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.seeds import make_generator


@dataclass(frozen=True, eq=False)
class Descent:
    """What a descendant is made from.

    Args:
        parents: Stacked weights of each parent, network for network.
        options: Of the operation.
        seeds: One a network.
        module: The architecture.
        signature: What the module takes.
    """

    parents: Sequence[Stacked]
    options: dict[str, Any]
    seeds: Sequence[int]
    module: nn.Module
    signature: Signature


def _keep(descent: Descent) -> Stacked:
    return descent.parents[0]


def _each_matrix(descent: Descent, change: Callable[[Tensor], Tensor]) -> Stacked:
    """Change the tensors that have a fan-in, in single precision."""
    return {n: change(t.float()) if t.ndim > 2 else t for n, t in descent.parents[0].items()}


def _prune(descent: Descent) -> Stacked:
    """Zero the given share of each tensor's weights, the smallest ones."""

    def cut(tensor: Tensor) -> Tensor:
        size = tensor.flatten(1).abs()
        count = int(descent.options["share"] * size.shape[1])
        gone = torch.zeros_like(size, dtype=torch.bool).scatter(1, size.argsort(dim=1, stable=True)[:, :count], True)
        return tensor.masked_fill(gone.view_as(tensor), 0.0)

    return _each_matrix(descent, cut)


def _quantise(descent: Descent) -> Stacked:
    """Round each output's weights to whole multiples of its largest one over `2^(bits-1) - 1`."""
    levels = 2 ** (descent.options["bits"] - 1) - 1

    def rounded(tensor: Tensor) -> Tensor:
        step = tensor.flatten(2).abs().amax(2).clamp(min=1e-12) / levels
        step = step.view(*step.shape, *[1] * (tensor.ndim - 2))
        return (tensor / step).round() * step

    return _each_matrix(descent, rounded)


def _merge(descent: Descent) -> Stacked:
    """Mean of the parents, statistics included."""
    return {
        name: torch.stack([parent[name].float() for parent in descent.parents]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in descent.parents[0].items()
    }


def _relabel(descent: Descent) -> Stacked:
    """The same function with every hidden axis in a random order, another one for each network."""
    from weightspace.checkpoint.checkpoint import Checkpoint
    from weightspace.graph.symmetry.orders import random_permutations
    from weightspace.graph.symmetry.relabel import relabel
    from weightspace.graph.trace import trace_graph

    graph = trace_graph(descent.module, (torch.zeros(2, *descent.signature.inputs),))
    return stack_tensors(
        [
            relabel(
                Checkpoint(tensors), graph, random_permutations(graph, generator=make_generator("relabel", seed))
            ).tensors
            for tensors, seed in zip(unstack_tensors(descent.parents[0]), descent.seeds, strict=True)
        ]
    )


START: dict[str, Callable[[Descent], Stacked]] = {
    "finetune": _keep,
    "prune": _prune,
    "quantise": _quantise,
    "merge": _merge,
    "relabel": _relabel,
}
