"""Losses with their gradients, recorded on a CUDA device and replayed: a thousand small operations launched as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[..., Tensor]
Gradients = tuple[Tensor, Sequence[Tensor | None]]


class Recorded:
    """Takes gradients of losses, each kind of loss recorded when it comes first.

    A small network is launched more slowly than it runs; a recording (a CUDA graph) is launched at once. All recordings
    share their memory, for one runs at a time. On other devices nothing is recorded, and everything else is the same.

    Args:
        parameters: To take gradients to; of none, a loss is any function, and no gradients are taken.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self._known: dict[Hashable, _Recording] = {}

    def backward(self, kind: Hashable, loss: Loss, told: Sequence[Tensor]) -> Tensor:
        """Return `loss(*told)`; its gradients are those of the parameters afterwards, whatever they were before.

        Args:
            kind: Of the loss. Of one kind, one shape of each of `told` and one device, the function is the same, and it
                computes with nothing else that changes but the parameters, in place.
            loss: One number, or several whose sum has the gradients, of what is told.
            told: What it is computed of.
        """
        value, grads = self.gradients(kind, loss, told)
        for parameter, grad in zip(self.parameters, grads, strict=True):
            parameter.grad = grad
        return value

    def gradients(self, kind: Hashable, loss: Loss, told: Sequence[Tensor]) -> Gradients:
        """Return `loss(*told)` and its gradients, None where there is none; arguments as for `backward`.

        Gradients stay until the next are taken.
        """
        if told[0].device.type != "cuda":
            return take_gradients(loss, told, self.parameters)
        key = (kind, *(t.shape for t in told))
        if key not in self._known:
            shared = [known.graph.pool() for known in self._known.values()][:1]
            self._known[key] = _Recording(loss, told, self.parameters, *shared)
        return self._known[key].replay(told)


class _Recording:
    def __init__(
        self, loss: Loss, told: Sequence[Tensor], parameters: Sequence[nn.Parameter], pool: Any = None
    ) -> None:
        self.told, self.graph = [t.clone() for t in told], torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # constants are moved and algorithms chosen before anything is recorded
            take_gradients(loss, self.told, parameters)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(self.graph, pool=pool):
            self.value, self.grads = take_gradients(loss, self.told, parameters)

    def replay(self, told: Sequence[Tensor]) -> Gradients:
        for kept, new in zip(self.told, told, strict=True):
            kept.copy_(new)
        self.graph.replay()
        return self.value.clone(), self.grads


def add_gradients(totals: Sequence[Tensor | None], gradients: Sequence[Tensor | None], share: float) -> None:
    """Add a share of gradients to totals, in place; where there is no gradient, the total stays."""
    pairs = [(total, grad) for total, grad in zip(totals, gradients, strict=True) if grad is not None]
    if pairs:
        torch._foreach_add_(*map(list, zip(*pairs, strict=True)), alpha=share)


def take_gradients(loss: Loss, told: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> Gradients:
    """Return `loss(*told)` and its gradients, None where there is none."""
    value = loss(*told)
    if not parameters or not value.requires_grad:  # what does not learn has none
        return value.detach(), [None] * len(parameters)
    return value.detach(), torch.autograd.grad(value.sum(), parameters, allow_unused=True)
