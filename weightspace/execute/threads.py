"""Threads of a processor: one for each operation, and several operations side by side.

An operation on little data gains next to nothing from a second thread, whose waiting takes a core all the same; and
where another program holds that core, every operation waits for it. Independent pieces of work have neither trouble.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import Function, Variable
from torch.autograd.function import once_differentiable

T = TypeVar("T")
R = TypeVar("R")
Tensors = tuple[Tensor, ...]
_SPARE = ContextVar("spare", default=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Give each operation of PyTorch one thread, within; `side_by_side` may use as many as there were."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    token = _SPARE.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _SPARE.reset(token)


@contextmanager
def all_threads() -> Iterator[None]:
    """Give each operation the threads that `one_thread` took, within: for one large piece of work alone."""
    threads = spare_threads()
    if threads == 1:
        yield
        return
    token = _SPARE.set(1)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(1)
        _SPARE.reset(token)


def spare_threads() -> int:
    """Return how many pieces of work can be done at once: more than one within `one_thread` alone."""
    return _SPARE.get()


def side_by_side(call: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """Return what a call makes of each part, in their order; computed at once as far as there are spare threads.

    Context variables, and whether gradients are recorded, are as outside. Of several errors the first part's is raised.

    Example:
        >>> side_by_side(abs, [-1, 2])
        [1, 2]
    """
    return _spread(call, parts, spare_threads())


def _spread(call: Callable[[T], R], parts: Sequence[T], threads: int) -> list[R]:
    if threads < 2 or len(parts) < 2:
        return [call(part) for part in parts]
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def work(part: T) -> R:
        _SPARE.set(1)
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return call(part)

    def run(context: Context, part: T) -> R:
        return context.run(work, part)

    return list(_workers(threads, os.getpid()).map(run, [copy_context() for _ in parts], parts))


@lru_cache(maxsize=4)
def _workers(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process whose operations have one thread each; those of a process do not outlive a fork."""
    return ThreadPoolExecutor(threads, "weightspace", initializer=torch.set_num_threads, initargs=(1,))


def slopes_side_by_side(call: Callable[[Tensors], Tensor], parts: Sequence[Tensors]) -> list[Tensor]:
    """Return what `side_by_side` does; the way back, too, takes all parts at once. Differentiable once.

    Args:
        call: Makes a tensor from the tensors of a part, and from nothing else that needs a slope.
        parts: Equally many tensors each; parts may share some.
    """
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for part in parts for tensor in part)
    if spare_threads() < 2 or not needed:
        return side_by_side(call, parts)
    return list(_Apart.apply(call, len(parts), *(tensor for part in parts for tensor in part)))


class _Apart(Function):
    """Each part keeps a graph of its own, from its tensors to what was made of them."""

    @staticmethod
    def forward(ctx: Any, call: Callable[[Tensors], Tensor], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        each = len(tensors) // count
        own = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
        ctx.parts, ctx.threads = [tuple(own[i : i + each]) for i in range(0, len(own), each)], spare_threads()
        with torch.enable_grad():
            ctx.made = side_by_side(call, ctx.parts)
        return tuple(made.detach() for made in ctx.made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        def go_back(i: int) -> list[Tensor | None]:
            needed = [tensor for tensor in ctx.parts[i] if tensor.requires_grad]
            slopes = iter(torch.autograd.grad(ctx.made[i], needed, grads[i], allow_unused=True) if needed else ())
            return [next(slopes) if tensor.requires_grad else None for tensor in ctx.parts[i]]

        found = _spread(go_back, range(len(grads)), ctx.threads)
        return None, None, *(slope for part in found for slope in part)


def one_thread_back(x: Tensor) -> Tensor:
    """Return `x`; once its slope is known, operations have one thread each to the end of the way back.

    PyTorch goes back in the thread that asks for it, so that how many it has there counts.
    """
    if not x.requires_grad or x.device.type != "cpu":
        return x
    found = _OneThreadBack.apply(x)
    assert isinstance(found, Tensor)
    return found


class _OneThreadBack(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        if threads > 1:
            torch.set_num_threads(1)
            Variable._execution_engine.queue_callback(lambda: torch.set_num_threads(threads))
        return grad
