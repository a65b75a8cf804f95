"""Messages through a block: two matrix products a kernel channel, never a vector an edge."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.nn.cosines import FREQUENCIES, kernel_cosines
from weightspace.nn.seeded import draw
from weightspace.nn.tiles import grouped, row_tiles
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
        x = self.mix(h, kernel)
        if split:
            stack = grouped(_channels(weight.to(h.dtype), kernel), *split, dim=2)
            stack = stack.transpose(-1, -2) if back else stack
            x = x.unflatten(2, (stack.shape[2], -1))
            return (stack @ x).sum(1).flatten(1, 2) / stack.shape[-1]
        parts = []
        for rows, tile in row_tiles(weight, h.dtype):
            stack = _channels(tile, kernel)
            parts.append((stack.transpose(-1, -2) @ x[:, :, rows] if back else stack @ x).sum(1))
        if back:
            return torch.stack(parts).sum(0) / weight.shape[1] if len(parts) > 1 else parts[0] / weight.shape[1]
        return torch.cat(parts, 1) / weight.shape[2]

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


def _channels(weight: Tensor, kernel: tuple[int, ...]) -> Float[Tensor, "models channels outs ins"]:
    """`W_c` and `|W_c|`, one after the other."""
    _, cosines = kernel_cosines(kernel)
    projected = weight.movedim(-1, 1) if len(cosines) == 1 else (weight @ cosines.to(weight)).movedim(-1, 1)
    return torch.cat([projected, projected.abs()], 1)
