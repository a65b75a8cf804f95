"""Convolutions as batched products, in a layout in which the images are the last axis of every map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

PIECE = 1 << 20
"""Numbers of the patches that are made at once: they stay in the cache of a core."""
Maps = Float[Tensor, "models height width channels images"]


@dataclass(frozen=True)
class Window:
    """The places that one number of a map is computed from: sizes and strides, rows first."""

    kernel: tuple[int, int]
    stride: tuple[int, int]

    def counts(self, height: int, width: int) -> tuple[int, int]:
        """Return how many windows fit into a map, downwards and across."""
        down, across = ((n - k) // s + 1 for n, k, s in zip((height, width), self.kernel, self.stride, strict=True))
        return down, across

    def view(self, x: Maps, rows: slice) -> Tensor:
        """Return the patches of rows of windows, `(models, rows, columns, *kernel, channels, images)`, uncopied."""
        models, a, b, *rest = x.stride()
        size = (len(x), rows.stop - rows.start, self.counts(*x.shape[1:3])[1], *self.kernel, *x.shape[3:])
        steps = (models, self.stride[0] * a, self.stride[1] * b, a, b, *rest)
        return x.as_strided(size, steps, x.storage_offset() + rows.start * self.stride[0] * a)

    def scatter(self, x: Maps, patches: Tensor, rows: slice) -> None:
        """Add up numbers of the shape of `view` at the places of `x`, from `empty_like`; the last rows first."""
        places = self.view(x, rows)
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                into, told = places[:, :, :, i, j], patches[:, :, :, i, j]
                if self.covers and i < self.stride[0] and j < self.stride[1]:
                    into.copy_(told)
                else:
                    into.add_(told)

    def empty_like(self, x: Maps) -> Tensor:
        """Return maps to `scatter` into: zeros, save where it writes before it adds."""
        if not self.covers:
            return torch.zeros_like(x)
        found = torch.empty_like(x)
        down, across = self.counts(*x.shape[1:3])
        found[:, down * self.stride[0] :].zero_()
        found[:, :, across * self.stride[1] :].zero_()
        return found

    @property
    def covers(self) -> bool:
        """Whether windows leave no gap, so that the taps within one stride are all places, each once."""
        return all(k >= s for k, s in zip(self.kernel, self.stride, strict=True))


def convolve(
    x: Maps,
    kernels: Float[Tensor, "networks outs tall wide channels"],
    bias: Float[Tensor, "networks outs"],
    window: Window,
) -> Float[Tensor, "networks down across outs images"]:
    """Return the maps of convolutions without padding, differentiable once in everything.

    Args:
        x: Maps with their images last, of each network or of one for all.
        kernels: As many as there are networks.
        bias: Of each output.
        window: Where kernels lie.
    """
    found: Tensor = _Products.apply(x, kernels.flatten(2), bias, window)
    return found


class _Products(Function):
    """Each place of a map is a product of a kernel, `(outs, taps * channels)`, with a patch as long as images."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, bias: Tensor, window: Window) -> Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.window = window
        return (_forward_shared if len(x) < len(kernels) else _forward_rows)(x, kernels, bias, window)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (x, kernels), needed, window = ctx.saved_tensors, ctx.needs_input_grad, ctx.window
        grad, shared = grads[0].contiguous(), len(x) < len(kernels)
        into_bias = grad.sum((1, 2, 4)) if needed[2] else None
        into_kernels = into_x = None
        if needed[1]:
            into_kernels = (_grad_of_shared_kernels if shared else _grad_of_kernels)(grad, x, window)
        if needed[0] and window.stride == (1, 1) and not shared:
            into_x = _grad_of_steps(grad, kernels, window)
        elif needed[0]:
            into_x = _grad_of_maps(grad, x, kernels, window)
        return into_x, into_kernels, into_bias, None


def _forward_shared(x: Tensor, kernels: Tensor, bias: Tensor, window: Window) -> Tensor:
    """Patches of maps that all networks share, made once, with a row of ones for the bias."""
    out = x.new_empty(len(kernels), *window.counts(*x.shape[1:3]), kernels.shape[1], x.shape[4])
    matrices = torch.cat([kernels, bias[..., None]], 2)
    for _, rows, patches in _pieces(x, window, ones=True):
        for network, matrix in enumerate(matrices):
            torch.bmm(matrix.expand(len(patches), -1, -1), patches, out=out[network, rows].flatten(0, 1))
    return out


def _forward_rows(x: Tensor, kernels: Tensor, bias: Tensor, window: Window) -> Tensor:
    """Patches in the place where they lie: taps across, channels and images of a row are one matrix."""
    x, (down, across), (models, outs, _) = x.contiguous(), window.counts(*x.shape[1:3]), kernels.shape
    width, line, images = x.shape[2], x.stride(2), x.shape[4]
    merged = window.stride == (1, 1)  # then the patches of all rows follow each other
    out = x.new_empty(models, down, width if merged else across, outs, images)
    out.copy_(bias[:, None, None, :, None])
    taps = kernels.unflatten(2, (window.kernel[0], -1))
    count = down * width - window.kernel[1] + 1 if merged else across
    size, steps = (count, taps.shape[3], images), (window.stride[1] * line, images, 1)
    for model in range(models):
        rows = (out[model].flatten(0, 1)[:count],) if merged else out[model].unbind(0)
        parts = [taps[model, :, i].expand(count, -1, -1) for i in range(window.kernel[0])]
        start = x.storage_offset() + model * x.stride(0)
        for y, row in enumerate(rows):
            for i, part in enumerate(parts):
                at = start + (y * window.stride[0] + i) * width * line
                row.baddbmm_(part, x.as_strided(size, steps, at))
    return out[:, :, :across]


def _grad_of_kernels(grad: Tensor, x: Tensor, window: Window) -> Tensor:
    found = grad.new_zeros(len(x), prod(window.kernel) * x.shape[3], grad.shape[3])
    for models, rows, patches in _pieces(x, window):
        told = torch.bmm(patches, grad[models, rows].flatten(0, 2).mT)
        found[models].add_(told.unflatten(0, (models.stop - models.start, -1)).sum(1))
    return found.mT


def _grad_of_shared_kernels(grad: Tensor, x: Tensor, window: Window) -> Tensor:
    """One product for all networks, which takes a copy with their outputs together."""
    outs = grad.permute(1, 2, 0, 3, 4).flatten(2, 3)
    found = _grad_of_kernels(outs[None], x, window)[0]
    return found.unflatten(0, (len(grad), -1))


def _grad_of_steps(grad: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Where the stride is one: a convolution with the kernels turned round."""
    (down, across), (models, outs, _) = window.kernel, kernels.shape
    turned = kernels.view(models, outs, down, across, -1).flip(2, 3).permute(0, 4, 2, 3, 1).flatten(2)
    padded = pad(grad, (0, 0, 0, 0, across - 1, across - 1, down - 1, down - 1))
    return _forward_rows(padded, turned, turned.new_zeros(turned.shape[:2]), window)


def _grad_of_maps(grad: Tensor, x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Products give patches, which are added up where they overlap; over the networks first that share their maps."""
    found, back = window.empty_like(x), kernels.mT.contiguous()
    each = len(x) == len(grad)
    for models, rows in reversed(_cuts(x, window)):
        first, *others = [models] if each else [slice(n, n + 1) for n in range(len(grad))]
        some = grad[first, rows].flatten(0, 2)
        patches = torch.bmm(_repeated(back[first], some), some)
        for other in others:
            some = grad[other, rows].flatten(0, 2)
            patches.baddbmm_(_repeated(back[other], some), some)
        shape = (models.stop - models.start, rows.stop - rows.start, -1, *window.kernel, *x.shape[3:])
        window.scatter(found[models], patches.view(shape), rows)
    return found


def _pieces(x: Tensor, window: Window, *, ones: bool = False) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield models, rows of windows and their patches, `(places, taps * channels, images)`, valid until the next.

    With `ones`, these follow as a last row.
    """
    length, ready = prod(window.kernel) * x.shape[3], None
    for models, rows in _cuts(x, window):
        view = window.view(x[models], rows)
        if ready is None:
            ready = x.new_empty(prod(view.shape[:3]), length + ones, x.shape[4])
            ready[:, length:] = 1
        patches = ready[: prod(view.shape[:3])]
        patches[:, :length].view(view.shape).copy_(view)
        yield models, rows, patches


def _cuts(x: Tensor, window: Window) -> list[tuple[slice, slice]]:
    """Some models with all their rows of windows, or one model with some, whose patches are about a `PIECE`."""
    down, across = window.counts(*x.shape[1:3])
    line = across * prod(window.kernel) * x.shape[3:].numel()
    step, rows = max(1, PIECE // (down * line)), max(1, min(down, PIECE // line))
    return [
        (slice(model, min(len(x), model + step)), slice(row, min(down, row + rows)))
        for model in range(0, len(x), step)
        for row in range(0, down, rows)
    ]


def _repeated(matrix: Float[Tensor, "models rows columns"], places: Tensor) -> Float[Tensor, "places rows columns"]:
    return matrix[:, None].expand(-1, len(places) // len(matrix), -1, -1).flatten(0, 1)
