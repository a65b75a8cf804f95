"""What a block answers to signals: the plain product with its weights, around each place at once."""

from __future__ import annotations

from functools import partial
from math import prod

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.execute.processes import Team
from weightspace.nn.cosines import FREQUENCIES
from weightspace.nn.message import across, channel_mixers, kernel_channels, summed
from weightspace.nn.products import PLAIN, Products, times
from weightspace.nn.seeded import draw
from weightspace.nn.tiles import group_tiles, tiles

NEAR = 0.3
"""How far, at first, what a kernel sees beside a place differs from that place."""


class Patches(nn.Module):
    """`y = sum_t W_t p_t` with patches `p_t = sum_c cos_c(t) x M_c` around each place.

    `M_c` mixes the signals of the places; at the constant cosine it starts as the identity, so that a kernel sees the
    place itself and, beside it, mixtures of others. Kernels of all sizes share them.

    Args:
        places: Signals of a unit.
        generator: Draws the mixtures.
    """

    def __init__(self, places: int, *, generator: Generator) -> None:
        super().__init__()
        mixers = NEAR * draw(len(FREQUENCIES), places, places, generator=generator).detach()
        mixers[0] += torch.eye(places)
        self.mixer = nn.Parameter(mixers)

    def across(
        self, waves: Float[Tensor, "models outs ins channels"], x: Tensor, kernel: tuple[int, ...]
    ) -> Float[Tensor, "models outs places"]:
        """Return the answers of a block whose waves (see `small_waves`) are at hand."""
        return across(waves, x, channel_mixers(self.mixer, kernel)) * prod(kernel)

    def between(
        self,
        weight: Float[Tensor, "models outs ins taps"],
        x: Float[Tensor, "#models positions places"],
        kernel: tuple[int, ...],
        split: tuple[str, Tensor] | None,
        how: Products = PLAIN,
    ) -> Float[Tensor, "models told places"]:
        """Return the answers of a block of any size and float dtype, tile by tile.

        Args:
            weight: As stored.
            x: Signals of its inputs, the same for all models or for each, in groups if `split`.
            kernel: Sizes whose product is the number of taps.
            split: Side that holds the groups, and its positions, `(groups, positions in a group)`.
            how: Products are made; groups are not shared among processes.
        """
        seen, dtype = x[:, None] @ channel_mixers(self.mixer, kernel), how.dtype or x.dtype
        if split:
            seen, parts = seen.unflatten(2, (len(split[1]), -1)), []
            for groups, part in group_tiles(weight, dtype, split):
                parts.append(_answer(seen[:, :, groups], kernel, part).flatten(1, 2))
            return torch.cat(parts, 1) * prod(kernel)

        def answered(share: Team) -> Tensor:
            total = x.new_zeros(len(weight), weight.shape[1], x.shape[2])
            for tile in tiles(weight, dtype, team=share):
                told, _ = tile.settle(partial(_answer, seen[:, :, tile.ins], kernel))
                total[:, tile.outs] += told
            return total

        return how.team.add_up(summed(answered, weight, how.team)) * prod(kernel)


def _answer(seen: Tensor, kernel: tuple[int, ...], weight: Tensor) -> Float[Tensor, "models *groups outs places"]:
    return times(kernel_channels(weight, kernel), seen).sum(1)
