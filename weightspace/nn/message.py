"""Messages through a block: two matrix products a kernel channel, never a vector an edge."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.nn.cosines import FREQUENCIES, kernel_cosines
from weightspace.nn.seeded import draw
from weightspace.nn.tiles import group_tiles, tiles
from weightspace.nn.units import standardise


class KernelMessage(nn.Module):
    """`m_out = 1/n_in * sum_c (W_c @ (h A_c) + |W_c| @ (h B_c))`, and the same with `W^T` on the way back.

    `W_c` is the kernel projected on cosine `c` (see `kernel_cosines`), so 1x1 to 7x7 kernels share `A` and `B`. A
    multiply-add count a weight is `2 * width` a linear layer and direction, less for kernels.

    Args:
        width: Of a unit's state.
        generator: Draws `A` and `B`.
    """

    def __init__(self, width: int, *, generator: Generator) -> None:
        super().__init__()
        self.mixer = draw(2, len(FREQUENCIES), width, width, generator=generator)
        self.own = draw(1, width, generator=generator, scale=1.0)

    def mix(self, h: Tensor, kernel: tuple[int, ...]) -> Float[Tensor, "models channels units width"]:
        """Return `h A_c` and `h B_c`, one after the other."""
        channels, _ = kernel_cosines(kernel)
        return h[:, None] @ self.mixer[:, channels].flatten(0, 1)

    def between(
        self, weight: Tensor, h: Tensor, *, kernel: tuple[int, ...], back: bool, split: tuple[str, Tensor] | None
    ) -> Float[Tensor, "models positions width"]:
        """Return the messages from the states `h` of one side's positions to the other's.

        Args:
            weight: `(models, out, in, taps)`, any float dtype.
            h: `(models, positions, width)`, positions in groups if `split`.
            kernel: Sizes whose product is `taps`.
            back: From the out side to the in side instead of the other way.
            split: Side that holds the groups, and its positions, `(groups, positions in a group)`.
        """
        a, b = self.mix(h, kernel).chunk(2, 1)
        if split:
            return self._grouped(weight, (a, b), kernel, back, split)
        total, parts = None, list[Tensor]()
        for tile in tiles(weight, h.dtype):
            near, far = (tile.outs, tile.ins) if back else (tile.ins, tile.outs)
            told, _ = tile.settle(partial(_message, (a[:, :, near], b[:, :, near]), kernel, back))
            if far == slice(None):
                total = told if total is None else total + told
            else:
                parts.append(told)
        m = torch.cat(parts, 1) if total is None else total
        return m / weight.shape[1 if back else 2]

    def _grouped(
        self, weight: Tensor, states: tuple[Tensor, Tensor], kernel: tuple[int, ...], back: bool, split: tuple
    ) -> Float[Tensor, "models positions width"]:
        a, b = (x.unflatten(2, (len(split[1]), -1)) for x in states)
        parts = []
        for groups, tile in group_tiles(weight, a.dtype, split):
            stack = _channels(tile, kernel)
            parts.append(_told(stack, a[:, :, groups], b[:, :, groups], back) / stack.shape[-2 if back else -1])
        return torch.cat(parts, 1).flatten(1, 2)

    def within(self, weight: Tensor, h: Tensor, *, kernel: tuple[int, ...]) -> Float[Tensor, "models positions width"]:
        """Return the messages of weights that sit on one side: each position's own weights times its own state.

        The weights are centred over the positions and divided by their deviation first: gains all close to one say
        what they say by how they differ. Their common value is in the block's statistics.

        Args:
            weight: `(models, positions, 1, taps)`.
            h: `(models, positions, width)`.
            kernel: Sizes whose product is `taps`.
        """
        _, cosines = kernel_cosines(kernel)
        stack = weight[:, :, 0].to(h.dtype) @ cosines.to(h)
        if stack.shape[1] > 1:
            pool = stack.new_full((1, stack.shape[1]), 1 / stack.shape[1])
            stack, _ = standardise(stack, pool, torch.zeros(stack.shape[1], dtype=torch.long, device=stack.device))
        stack = torch.cat([stack, stack.abs()], 2).transpose(1, 2)
        return torch.einsum("mcp,mcpw->mpw", stack, self.mix(h, kernel) + self.own)


def _channels(weight: Tensor, kernel: tuple[int, ...]) -> Float[Tensor, "models channels *groups outs ins"]:
    """`W_c` of `(models, *groups, outs, ins, taps)`."""
    _, cosines = kernel_cosines(kernel)
    if len(cosines) == 1:
        return weight.movedim(-1, 1)
    waves = cosines.to(weight).T.contiguous()  # a transposed small factor costs the product twenty times its speed
    return (waves @ weight.flatten(1, -2).transpose(1, 2)).unflatten(2, weight.shape[1:-1])


def _message(states: tuple[Tensor, Tensor], kernel: tuple[int, ...], back: bool, weight: Tensor) -> Tensor:
    return _told(_channels(weight, kernel), *states, back)


def _told(stack: Tensor, a: Tensor, b: Tensor, back: bool) -> Float[Tensor, "models *groups positions width"]:
    """`sum_c W_c a_c + |W_c| b_c`, or the same with `W^T`."""
    size = stack.abs()
    if not back:
        return (stack @ a + size @ b).sum(1)
    a, b = a.transpose(-1, -2), b.transpose(-1, -2)  # quicker than transposing the large factor
    return (a @ stack + b @ size).sum(1).transpose(-1, -2)
