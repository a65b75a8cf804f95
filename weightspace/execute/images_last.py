"""Many small convolutional networks on the same images, on a CPU: a few at a time, with the images as the last axis.

A grouped convolution of narrow groups runs far below what a CPU can do. With the images last, each place of a map is a
product of a kernel with a matrix as long as there are images, a first layer gathers its patches once for all networks,
and what works number by number keeps the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch._C._functorch import _add_batch_dim, get_unwrapped, is_batchedtensor, maybe_get_bdim, maybe_get_level
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from weightspace.execute.image_products import Window, convolve
from weightspace.execute.stack import Stacked, run_stacked
from weightspace.execute.threads import Tensors, all_threads, one_thread, slopes_side_by_side, spare_threads

IMAGES = 64
"""Images from which products with them are long enough to pay."""
TOGETHER = 1 << 24
"""Numbers of the widest maps, strides aside, of the networks that run at once: taking memory anew costs more than
computing what is in it."""


def run_in_parts(module: nn.Module, stacked: Stacked, inputs: Tensor) -> Tensor:
    """Return what `run_stacked` does with shared inputs on a CPU, a few networks at a time and several times at once.

    One network has all threads to itself.

    Args:
        module: As for `run_stacked`; nothing in it is random.
        stacked: As for `run_stacked`.
        inputs: As for `run_stacked`.
    """
    models = len(next(iter(stacked.values())))
    widest = [tensor.shape[1] for tensor in stacked.values() if tensor.ndim == 5]

    def run(part: Tensors) -> Tensor:
        with ImagesLast():
            return run_stacked(module, dict(zip(stacked, part[1:], strict=True)), part[0])

    with all_threads() if models == 1 else one_thread():
        if not widest or inputs.ndim != 4:
            return run_stacked(module, stacked, inputs)
        spare = spare_threads()
        most = max(1, TOGETHER // (max(widest) * inputs[:, 0].numel())) * spare
        step = -(-models // (spare * -(-models // most)))
        parts = zip(*(tensor.split(step) for tensor in stacked.values()), strict=True)
        return torch.cat(slopes_side_by_side(run, [(inputs, *part) for part in parts]))


CONV2D = {"input": None, "weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
BATCH_NORM = {
    **dict.fromkeys(("input", "running_mean", "running_var", "weight", "bias")),
    **{"training": False, "momentum": 0.1, "eps": 1e-5},
}
"""Arguments of `torch.conv2d` and of `torch.nn.functional.batch_norm`, and their defaults."""


@final
class ImagesLast(TorchFunctionMode):
    """Where it is active, `vmap` over networks runs convolutions as `convolve` does where that is faster.

    That is where there are many images and the first convolution has a stride; what follows keeps the layout that this
    one chooses. Stride one on large maps is what grouped convolutions do as well. Answers stay the same.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        operation = OPERATIONS.get(func)
        return func(*args, **(kwargs or {})) if operation is None else operation(func, *args, **(kwargs or {}))


def _conv2d(func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    x, weight, bias, stride, padding, dilation, groups = _bound(CONV2D, args, kwargs)
    plain = not isinstance(padding, str) and groups == 1 and _pair(dilation) == (1, 1)
    if plain and is_batchedtensor(weight) and _suits(x, maybe_get_level(weight), _pair(stride)):
        return _of_all(x, weight, bias, Window(_pair(weight.shape[2:]), _pair(stride)), _pair(padding))
    return func(x, weight, bias, stride, padding, dilation, groups)


def _suits(x: Tensor, level: int, stride: tuple[int, int]) -> bool:
    """Whether an input is shared by the networks and its images are many, or the images are last already."""
    if x.ndim != 4 or len(x) < IMAGES or x.dtype not in (torch.float32, torch.float64):
        return False
    return x.stride(0) == 1 if maybe_get_level(x) == level else min(stride) > 1


def _of_all(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, padding: tuple[int, int]) -> Tensor:
    """Return the maps of all networks at once, from one network's tensors as `vmap` sees them."""
    level = maybe_get_level(weight)
    with temporarily_clear_interpreter_stack():
        maps, kernels = _unwrapped(x, level).permute(0, 3, 4, 2, 1), _unwrapped(weight, level).permute(0, 1, 3, 4, 2)
        if any(padding):
            maps = functional.pad(maps, (0, 0, 0, 0, padding[1], padding[1], padding[0], padding[0]))
        offsets = kernels.new_zeros(1, 1) if bias is None else _unwrapped(bias, level)
        found = convolve(maps, kernels, offsets.expand(kernels.shape[:2]), window).permute(0, 4, 3, 1, 2)
    return _add_batch_dim(found, 0, level)


def _unwrapped(tensor: Tensor, level: int) -> Tensor:
    """The tensors of all networks, their axis first; it is one long if they share one."""
    if maybe_get_level(tensor) != level:
        return tensor[None]
    return get_unwrapped(tensor).movedim(maybe_get_bdim(tensor), 0)


def _convolution(func: Callable[..., Tensor], x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    bias, stride, padding, dilation, transposed, _, groups = rest
    if transposed or weight.ndim != 4:
        return func(x, weight, *rest)
    return _conv2d(functional.conv2d, x, weight, bias, stride, padding, dilation, groups)


def _batch_norm(func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """Batch norm in evaluation, number by number."""
    x, mean, variance, weight, bias, training, momentum, eps = _bound(BATCH_NORM, args, kwargs)
    if training or mean is None or variance is None or x.ndim != 4:
        return func(x, mean, variance, weight, bias, training, momentum, eps)
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return torch.addcmul(shift[:, None, None], x, scale[:, None, None])


def _batch_norm_op(func: Callable[..., Any], x: Tensor, weight: Any, bias: Any, *rest: Any) -> Any:
    mean, variance, momentum, eps = rest
    if x.ndim != 4:
        return func(x, weight, bias, *rest)
    found = _batch_norm(functional.batch_norm, x, mean, variance, weight, bias, False, momentum, eps)
    return found, mean.new_empty(0), mean.new_empty(0)


def _view(func: Callable[..., Tensor], x: Tensor, *shape: Any) -> Tensor:
    """A view by shape, of whatever layout."""
    return func(x, *shape) if isinstance(shape[0], torch.dtype) else x.reshape(*shape)


def _bound(defaults: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments of a call in the order of `defaults`."""
    return tuple({**defaults, **dict(zip(defaults, args, strict=False)), **kwargs}.values())


def _pair(found: Any) -> tuple[int, int]:
    first, *rest = (found,) if isinstance(found, int) else tuple(found)
    return int(first), int(rest[0] if rest else first)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    torch.conv2d: _conv2d,
    torch.ops.aten.convolution.default: _convolution,
    functional.batch_norm: _batch_norm,
    torch.ops.aten._native_batch_norm_legit_no_training.default: _batch_norm_op,
    Tensor.view: _view,
}
"""What runs otherwise than by itself, by what it is called as."""
