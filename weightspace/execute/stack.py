"""Many networks of one architecture, run at once: every tensor gains a leading `models` axis.

One network is a stack of one; there is no second code path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from weightspace.errors import ArchitectureError

Stacked = Mapping[str, Tensor]


def stack_tensors(networks: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the tensors of equal networks, name for name, on a leading `models` axis.

    Args:
        networks: State dicts, or `Checkpoint.tensors`, of one architecture.

    Raises:
        ArchitectureError: A network holds other names or shapes than the first.

    Example:
        >>> stack_tensors([{"w": torch.zeros(2)}, {"w": torch.ones(2)}])["w"].tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    if not networks:
        raise ArchitectureError("no networks to stack: pass at least one.")
    shapes = {name: tuple(t.shape) for name, t in networks[0].items()}
    for i, network in enumerate(networks):
        found = {name: tuple(t.shape) for name, t in network.items()}
        if found != shapes:
            wrong = sorted(n for n in shapes.keys() | found.keys() if shapes.get(n) != found.get(n))
            raise ArchitectureError(
                f"network {i} is not of network 0's architecture: {wrong[:3]} differ "
                f"({found.get(wrong[0])} against {shapes.get(wrong[0])}). Stack equal architectures only."
            )
    return {name: torch.stack([network[name] for network in networks]) for name in shapes}


def unstack_tensors(stacked: Stacked) -> list[dict[str, Tensor]]:
    """Return the networks of a stack, the inverse of `stack_tensors`."""
    models = len(next(iter(stacked.values())))
    return [{name: tensor[i] for name, tensor in stacked.items()} for i in range(models)]


def run_stacked(module: nn.Module, stacked: Stacked, inputs: Tensor, *, own: bool = False) -> Tensor:
    """Return the outputs `(models, inputs, ...)` of all networks of a stack.

    `out[m] = module(inputs; stacked[m])`, differentiable in weights and inputs. Convolutions become grouped ones, so
    that a thousand small networks fill an accelerator. Random draws inside are the same for each network. A batch
    norm in training mode updates its running statistics in `stacked` in place. Several threads may run one module.

    Args:
        module: Holds the architecture and the mode (`train`, `eval`); its own weights are not used.
        stacked: Each tensor of the module by name, with a leading `models` axis.
        inputs: Shared by all networks, `(inputs, ...)`; with `own`, `(models, inputs, ...)`.
        own: Whether each network has its own inputs.
    """
    apart = _twin(module, {})

    def one(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(apart, tensors, (x,))

    return torch.vmap(one, in_dims=(0, 0 if own else None), randomness="same")(dict(stacked), inputs)


def _twin(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """A module of the same parts and tensors.

    While a module is run with other weights, it holds these (`functional_call`): two threads that ran one module would
    run each other's networks.
    """
    if module not in known:
        known[module] = found = copy(module)
        found._parameters, found._buffers = dict(module._parameters), dict(module._buffers)
        found._modules = {n: None if child is None else _twin(child, known) for n, child in module._modules.items()}
    return known[module]
