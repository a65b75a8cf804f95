"""Messages through a block: two matrix products a kernel channel, never a vector an edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from weightspace.execute.processes import Team
from weightspace.execute.threads import side_by_side
from weightspace.nn.compiled import WIDTH, loopable, message
from weightspace.nn.constants import on
from weightspace.nn.cosines import FREQUENCIES, kernel_cosines
from weightspace.nn.products import PLAIN, Products, times
from weightspace.nn.seeded import draw
from weightspace.nn.tiles import cut_of, group_tiles, is_streamed, pieces, shares, tiles
from weightspace.nn.units import standardise


class KernelMessage(nn.Module):
    """`m_out = 1/n_in * (sum_c W_c @ (h A_c) + |W_0| @ (h B))`, and the same with `W^T` on the way back.

    `W_c` is the kernel projected on cosine `c` (see `kernel_cosines`; `W_0` is its mean), so 1x1 to 7x7 kernels share
    `A` and `B`. A multiply-add count a weight is `2 * width` a linear layer and direction, less for kernels.

    Args:
        width: Of a unit's state.
        generator: Draws `A` and `B`.
    """

    def __init__(self, width: int, *, generator: Generator) -> None:
        super().__init__()
        self.mixer = draw(len(FREQUENCIES) + 1, width, width, generator=generator)

    def between(
        self,
        weight: Tensor,
        h: Tensor,
        *,
        kernel: tuple[int, ...],
        back: bool,
        split: tuple[str, Tensor] | None,
        how: Products = PLAIN,
    ) -> Float[Tensor, "models positions width"]:
        """Return the messages from the states `h` of one side's positions to the other's.

        Args:
            weight: `(models, out, in, taps)`, any float dtype.
            h: `(models, positions, width)`, positions in groups if `split`.
            kernel: Sizes whose product is `taps`.
            back: From the out side to the in side instead of the other way.
            split: Side that holds the groups, and its positions, `(groups, positions in a group)`.
            how: Products are made; groups are not shared among processes.
        """
        mixed, dtype = h[:, None] @ wave_mixers(self.mixer, kernel), how.dtype or h.dtype
        if split:
            return _grouped(group_tiles(weight, dtype, split), mixed.unflatten(2, (len(split[1]), -1)), kernel, back)
        if dtype == h.dtype and _accumulates(weight, h, kernel):
            total = how.team.add_up(summed(partial(_accumulated, mixed[0], weight, back), weight, how.team))
            if total.isfinite().all():
                return total[None] / weight.shape[1 if back else 2]

        def told_by(share: Team) -> Tensor:
            total = h.new_zeros(len(weight), weight.shape[2 if back else 1], h.shape[2])
            for tile in tiles(weight, dtype, team=share):
                near, far = (tile.outs, tile.ins) if back else (tile.ins, tile.outs)
                told, _ = tile.settle(partial(_message, mixed[:, :, near], kernel, back))
                total[:, far] += told
            return total

        return how.team.add_up(summed(told_by, weight, how.team)) / weight.shape[1 if back else 2]

    def across(
        self, waves: Float[Tensor, "models outs ins waves"], h: Tensor, *, kernel: tuple[int, ...], back: bool
    ) -> Float[Tensor, "models positions width"]:
        """Return what `between` does, of a block whose `small_waves` are at hand: one large product of each kind.

        States are mixed on the side that has fewer positions: before the product with `W_c` or after.
        """
        stack = waves.transpose(1, 2) if back else waves
        return across(stack, h, wave_mixers(self.mixer, kernel)) / stack.shape[2]


class OwnMessage(nn.Module):
    """Messages of weights that sit on one side: each position's own weights times its own state.

    Args:
        width: Of a unit's state.
        generator: Draws the parameters.
    """

    def __init__(self, width: int, *, generator: Generator) -> None:
        super().__init__()
        self.mixer = draw(len(FREQUENCIES) + 1, width, width, generator=generator)
        self.plain = draw(1, width, generator=generator, scale=1.0)

    def forward(
        self, waves: Float[Tensor, "models positions waves"], h: Tensor, kernel: tuple[int, ...]
    ) -> Float[Tensor, "models positions width"]:
        """Return the messages.

        Args:
            waves: See `own_waves`.
            h: `(models, positions, width)`.
            kernel: As for `own_waves`.
        """
        mixed = (h @ wave_mixers(self.mixer, kernel).transpose(0, 1).flatten(1)).unflatten(2, (-1, h.shape[2]))
        return (mixed * waves[..., None]).sum(2) + waves.sum(2, keepdim=True) * self.plain


def across(
    stack: Float[Tensor, "models far near waves"], h: Tensor, mixers: Float[Tensor, "waves width width"]
) -> Float[Tensor, "models far width"]:
    """Return `sum_w stack_w (h mixers_w)`, states mixed on the side that has fewer positions."""
    far, near = stack.shape[1:3]
    if near <= far:
        mixed = h @ mixers.transpose(0, 1).flatten(1)
        return times(stack.flatten(2), mixed.view(len(h), -1, h.shape[2]))
    found = times(stack.transpose(2, 3).flatten(1, 2), h)
    return found.view(len(stack), far, -1) @ mixers.flatten(0, 1)


def channel_mixers(mixer: Tensor, kernel: tuple[int, ...]) -> Float[Tensor, "channels width width"]:
    """Return the matrices of the channels of a kernel, from those of all `FREQUENCIES`."""
    channels, _ = kernel_cosines(kernel)
    return mixer.index_select(0, on(_places(tuple(channels)), mixer))


def wave_mixers(mixer: Tensor, kernel: tuple[int, ...]) -> Float[Tensor, "waves width width"]:
    """Return the `A_c` of a kernel's channels and then `B`, which is the last of `mixer`."""
    channels, _ = kernel_cosines(kernel)
    return mixer.index_select(0, on(_places((*channels, len(FREQUENCIES))), mixer))


def small_waves(weight: Float[Tensor, "models outs ins taps"], kernel: tuple[int, ...], scale: Tensor) -> Tensor:
    """Return `W_c` and `|W_0|`, `(models, outs, ins, channels + 1)`, of `scale` times the weights.

    Args:
        weight: Any float dtype.
        kernel: Sizes whose product is `taps`.
        scale: `(models,)`, in the dtype to compute in.
    """
    waves = _waves(weight.to(scale.dtype), kernel) * scale[:, None, None, None]
    return torch.cat([waves, waves[..., :1].abs()], 3)


def own_waves(
    weight: Float[Tensor, "models positions one taps"], kernel: tuple[int, ...], dtype: torch.dtype
) -> Float[Tensor, "models positions waves"]:
    """Return the same of weights that sit on one side, told apart.

    They are centred over the positions and divided by their deviation first: gains all close to one say what they say
    by how they differ. Their common value is in the block's statistics. Of such gains the mean is rounded, and a
    second centring takes out what that leaves.
    """
    waves = _waves(weight[:, :, 0].to(dtype), kernel)
    if waves.shape[1] > 1:
        for _ in range(2):
            waves, _ = standardise(waves, None, None)
    return torch.cat([waves, waves[..., :1].abs()], 2)


def _waves(weight: Tensor, kernel: tuple[int, ...]) -> Tensor:
    _, cosines = kernel_cosines(kernel)
    return weight if len(cosines) == 1 else weight @ on(cosines, weight)


@lru_cache(maxsize=256)
def _places(channels: tuple[int, ...]) -> Tensor:
    return torch.tensor(channels)


def kernel_channels(weight: Tensor, kernel: tuple[int, ...]) -> Float[Tensor, "models channels *groups outs ins"]:
    """Return `W_c` of `(models, *groups, outs, ins, taps)`."""
    _, cosines = kernel_cosines(kernel)
    if len(cosines) == 1:
        return weight.movedim(-1, 1)
    waves = on(cosines, weight).T.contiguous()  # a transposed small factor costs the product twenty times its speed
    return (waves @ weight.flatten(1, -2).transpose(1, 2)).unflatten(2, weight.shape[1:-1])


def _grouped(
    parts: Iterable[tuple[slice, Tensor]], mixed: Tensor, kernel: tuple[int, ...], back: bool
) -> Float[Tensor, "models positions width"]:
    """The messages of groups, each to its own positions, one group after the other."""
    told = [_message(mixed[:, :, some], kernel, back, part) / part.shape[-3 if back else -2] for some, part in parts]
    return torch.cat(told, 1).flatten(1, 2)


def _message(
    mixed: Tensor, kernel: tuple[int, ...], back: bool, weight: Tensor
) -> Float[Tensor, "models *groups positions width"]:
    """`sum_c W_c a_c + |W_0| b`, or the same with `W^T`; `b` is the last of `mixed`."""
    stack, a = kernel_channels(weight, kernel), mixed[:, :-1]
    size = times(stack[:, 0].abs(), mixed[:, -1], turned=back)
    if stack.shape[1] == 1:  # nothing to add up
        return times(stack[:, 0], a[:, 0], turned=back) + size
    return times(stack, a, turned=back).sum(1) + size


def summed(told_by: Callable[[Team], Tensor], weight: Tensor, team: Team) -> Tensor:
    """What a team is told by its share of a matrix, as many threads as are to spare at once."""
    total, *others = side_by_side(told_by, shares(weight, team))
    for other in others:
        total += other
    return total


def _accumulates(weight: Tensor, h: Tensor, kernel: tuple[int, ...]) -> bool:
    """Whether a message is of one large matrix on a CPU, without gradients: then products add up in place."""
    plain = len(weight) == len(h) == 1 and len(kernel_cosines(kernel)[0]) == 1
    return plain and is_streamed(weight) and h.device.type == "cpu" and not torch.is_grad_enabled()


def _accumulated(
    mixed: Float[Tensor, "two positions width"], weight: Tensor, back: bool, team: Team
) -> Float[Tensor, "far width"]:
    """What `_message` adds up to over the tiles, nothing made anew; not finite where weights are not."""
    cut = cut_of(weight)
    of_lines = (cut == 1) != back
    rows = loopable(weight, mixed.dtype, cut=cut)
    if rows is not None and mixed.dtype == torch.float32 and mixed.shape[2] == WIDTH:
        return _looped(mixed, rows, of_lines, team)
    known, length = mixed if of_lines else mixed.mT.contiguous().mT, weight.shape[2 if back else 1]
    total = mixed.new_zeros(length, mixed.shape[2]) if of_lines else mixed.new_zeros(mixed.shape[2], length).T
    room = mixed.new_empty(0)
    for tile in tiles(weight, mixed.dtype, cut=cut, team=team):
        lines, matrix = (tile.outs, tile.weight[0, ..., 0]) if cut == 1 else (tile.ins, tile.weight[0, ..., 0].T)
        into, (plain, size) = (total[lines], known) if of_lines else (total, known[:, lines])
        into.addmm_(matrix if of_lines else matrix.T, plain)
        matrix = matrix.abs_() if tile.copied else torch.abs(matrix, out=room.resize_(matrix.shape))
        into.addmm_(matrix if of_lines else matrix.T, size)  # how both lie keeps the large factor unturned
    return total.contiguous()


def _looped(
    mixed: Tensor, rows: Float[Tensor, "rows columns"], to_rows: bool, team: Team
) -> Float[Tensor, "far width"]:
    """The same in compiled loops; what is not finite counts as zero."""
    share = team.part(range(len(rows)))
    total, start = mixed.new_zeros(rows.shape[0 if to_rows else 1], mixed.shape[2]), share.start
    for piece in pieces(rows[share.start : share.stop]):
        lines, start = slice(start, start + len(piece)), start + len(piece)
        near, far = (mixed, total[lines]) if to_rows else (mixed[:, lines], total)
        message(piece, near, far, to_rows=to_rows)
    return total
