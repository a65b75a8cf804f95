"""The largest singular value of a matrix that is read tile by tile."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightspace.nn.compiled import DIRECTIONS, Told, loopable, reflect, survey
from weightspace.nn.energies import row_column_excess
from weightspace.nn.tiles import group_tiles, pieces, tiles

ITERATIONS = 6
GRAM = 96
"""Length of the shorter side up to which its Gram matrix costs less than products with the matrix itself."""


def spectral_norm(weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype) -> Float[Tensor, " models"]:
    """Return the largest singular value of `(out, in * taps)` after a few power iterations, from below.

    The start is the columns' norms, which a reordering of units reorders alike, so the result never depends on it.
    """
    sides = weight.shape[1], weight.shape[2] * weight.shape[3]
    if min(sides) <= GRAM:
        return _from_gram(weight.to(dtype).flatten(2))
    x = torch.stack([(tile.weight**2).sum(1) for tile in tiles(weight, dtype, cut=1)]).sum(0).flatten(1).sqrt()
    value = torch.zeros(len(weight), dtype=dtype, device=weight.device)
    for _ in range(ITERATIONS):
        x = x / x.norm(dim=1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
        y = torch.zeros_like(x)
        for tile in tiles(weight, dtype, cut=1):
            matrix = tile.weight.flatten(2)
            y = y + (matrix.transpose(1, 2) @ (matrix @ x[:, :, None])).squeeze(2)
        value = (x * y).sum(1).clamp_min(0).sqrt()
        x = y
    return value


def _from_gram(matrix: Float[Tensor, "models outs ins"]) -> Float[Tensor, " models"]:
    """The same from the products of the rows, or of the columns if they are fewer, with each other.

    With `G` their Gram matrix over its trace, `G^4` takes two products.
    """
    assert ITERATIONS == 6, "five steps lead to the vector whose image is measured"
    x, wide = matrix.square().sum(1).sqrt()[:, :, None], matrix.shape[1] < matrix.shape[2]
    gram = matrix @ matrix.mT if wide else matrix.mT @ matrix
    tiny = torch.finfo(matrix.dtype).tiny
    trace = gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(tiny)
    gram = gram / trace[:, None, None]
    x = matrix @ x if wide else gram @ x
    x = gram.matrix_power(4) @ x
    x = x / x.norm(dim=1, keepdim=True).clamp_min(tiny)
    y = gram @ x
    along = (x * y).sum((1, 2)).clamp_min(0)
    return (trace * ((y * y).sum((1, 2)) / along.clamp_min(tiny) if wide else along)).sqrt()


def largest_of_groups(
    weight: Float[Tensor, "models outs ins taps"], dtype: torch.dtype, split: tuple[str, Tensor]
) -> Float[Tensor, " models"]:
    """Return the largest spectral norm of any group."""
    found = [
        spectral_norm(groups.flatten(0, 1), dtype).unflatten(0, groups.shape[:2]).amax(1)
        for _, groups in group_tiles(weight, dtype, split)
    ]
    return torch.stack(found).amax(0)


class Sketch:
    """First pass of `sketched_norm`: moments, and four directions that a reordering of the columns reorders alike.

    With `r` and `c` the norms of the rows and columns: `1`, `W^T W 1`, `W^T r` and `c`. A direction that is nothing
    but rounding (where the rows add up to zero, say) counts as none.

    Args:
        columns: Of the matrix.
        like: A tensor of the dtype and device to compute in.
    """

    def __init__(self, columns: int, like: Tensor) -> None:
        self.added = like.new_zeros(3, columns, dtype=torch.float64)
        self.total, self.fourths = (like.new_zeros((), dtype=torch.float64) for _ in range(2))
        self.room, self.rows = like.new_empty(0), list[Tensor]()

    def add(self, matrix: Float[Tensor, "rows columns"], sums: Float[Tensor, " rows"]) -> None:
        """Take in some rows and their sums."""
        square = torch.mul(matrix, matrix, out=self.room.resize_(matrix.shape))
        self.total += sums.sum(dtype=torch.float64)
        self.rows.append(square.sum(1))
        self.added[:2] += torch.stack([sums, self.rows[-1].sqrt()]) @ matrix
        self.added[2] += sums.new_ones(len(sums)) @ square
        self.fourths += square.flatten() @ square.flatten()

    def close(self) -> None:
        """Bring what was added up to the CPU: all that is left to do with it is small, and quickest there."""
        self.added, self.rows = self.added.cpu(), [torch.cat(self.rows).cpu()]
        self.total, self.fourths = torch.stack([self.total, self.fourths]).cpu()

    def survey(self, rows: Tensor, counts: Tensor) -> Told:
        """Take in all rows, as `loopable` gives them, in compiled loops; return what else they tell.

        Args:
            rows: Of the matrix; what is not finite in them counts as zero.
            counts: Gains how many numbers have which leading sixteen bits.
        """
        told = Told()
        for piece in pieces(rows):
            sums, squares = survey(piece, counts, self.added, told, self.room.dtype)
            self.total += sums.sum(dtype=torch.float64)
            self.rows.append(squares)
        self.fourths += told.fourths
        return told

    @property
    def lines(self) -> Float[Tensor, "three columns"]:
        """Rows times their sums, rows times their norms, and squares, added up over the rows."""
        return self.added.to(self.room.dtype)

    def moments(self, count: int) -> Float64[Tensor, " 3"]:
        """Return the mean, the mean square, and the mean square about the mean of `count` numbers."""
        mean, square = self.total / count, self.added[2].sum() / count
        return torch.stack([mean, square, (square - mean.square()).clamp_min(0)])

    def excess(self, taps: int, *, transposed: bool) -> Float64[Tensor, " 2"]:
        """Return `row_column_excess` of the matrix; each column holds `taps` columns of this one.

        Args:
            taps: How many.
            transposed: Whether what came as rows are columns.
        """
        lines = torch.cat(self.rows)[None].double(), self.added[2].unflatten(0, (-1, taps)).sum(1)[None]
        rows, columns = lines[::-1] if transposed else lines
        count = rows.shape[1] * columns.shape[1] * taps
        return row_column_excess(rows, columns, self.fourths[None], count)[0]

    def directions(self) -> Float[Tensor, "directions columns"]:
        """Return orthonormal rows, at most four; all entries of the first are alike."""
        ones, norms, squares = self.lines
        total = squares.sum()
        least = torch.finfo(total.dtype).eps ** 0.5
        typical = total / len(ones) ** 0.5
        flat = torch.ones_like(ones)
        found: list[Tensor] = []
        for x, size in ((flat, flat.norm()), (ones, typical), (norms, typical), (squares.sqrt(), None)):
            before = x.norm() if size is None else size
            for _ in range(2):
                for known in found:
                    x = x - (x @ known) * known
            if x.norm() > least * before:
                found.append(x / x.norm())
        return torch.stack(found)


def sketched_norm(
    weight: Float[Tensor, "one outs ins taps"], dtype: torch.dtype, sketch: Sketch, *, cut: int
) -> Float[Tensor, ""]:
    """Return the largest singular value as far as the directions of a sketch and one more pass show it, from below.

    With `V` the directions and `A = W^T W`, it is the square root of the largest Ritz value of `W W^T` on the span of
    `W V`: the top of the pencil `(V A^2 V, V A V)`, for which `A V` is enough. The sketch is closed, and what is
    returned lies on the CPU.

    Source:
        Saad (2011), "Numerical Methods for Large Eigenvalue Problems", section 4.3 (Rayleigh-Ritz). The start is not
        drawn but made of what a reordering of units reorders.
    """
    directions = sketch.directions()
    further = _reflected(weight, directions[1:].to(weight.device), cut).cpu()
    images = torch.cat([sketch.lines[:1] * directions[0, 0], further])
    small, large = (directions @ images.T).double(), (images @ images.T).double()
    sizes, turn = torch.linalg.eigh((small + small.T) / 2)
    kept = sizes > torch.finfo(dtype).eps * sizes[-1].clamp_min(torch.finfo(dtype).tiny)
    if not kept.any():
        return torch.zeros((), dtype=dtype)
    white = turn[:, kept] / sizes[kept].sqrt()
    return torch.linalg.eigvalsh(white.T @ large @ white)[-1].clamp_min(0).sqrt().to(dtype)


def _reflected(weight: Tensor, directions: Float[Tensor, "few columns"], cut: int) -> Float[Tensor, "few columns"]:
    """`D W^T W` for directions `D`."""
    dtype = directions.dtype
    if not len(directions):
        return directions
    if (rows := loopable(weight, dtype, cut=cut)) is not None:
        found = directions.new_zeros(DIRECTIONS, directions.shape[1], dtype=torch.float64)
        for piece in pieces(rows):
            reflect(piece, directions, found)
        return found[: len(directions)].to(dtype)
    images = torch.zeros_like(directions)
    for tile in tiles(weight, dtype, cut=cut):
        there, finite = tile.settle(lambda found: directions @ as_rows(found, cut).T)
        images += there @ as_rows(finite, cut)
    return images


def as_rows(tile: Float[Tensor, "one outs ins taps"], cut: int) -> Float[Tensor, "rows columns"]:
    """One model's tile with what it was cut along first."""
    return tile[0].flatten(1) if cut == 1 else tile[0].transpose(0, 1).flatten(1)
