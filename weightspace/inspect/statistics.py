"""Summary numbers of each weight tensor, computed one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite, prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from scipy.sparse.linalg import eigsh
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)

_TILE = 1 << 22  # numbers converted to float64 at once
_DENSE = 512  # up to this side all eigenvalues are computed; above, the largest alone


@dataclass(frozen=True)
class TensorStatistics:
    """Summary numbers of one tensor, all in float64.

    Args:
        name: As in the checkpoint.
        nonfinite: How many of its numbers are NaN or infinite; the others are described by what follows.
        mean: Arithmetic mean; NaN if there is no finite number.
        std: Standard deviation, divided by the count (not by the count less one).
        quantiles: Smallest, lower quartile, median, upper quartile, largest; linear between neighbours.
        spectral_norm: Largest singular value of the tensor as a matrix (units written, everything else); None if the
            tensor is no matrix or holds a number that is not finite.
        stable_rank: Squared Frobenius norm over squared spectral norm, 1 to the rank; None also where all is zero.
    """

    name: str
    nonfinite: int
    mean: float
    std: float
    quantiles: tuple[float, ...]
    spectral_norm: float | None
    stable_rank: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON's types, None where there is no number."""
        finite = {"mean": _finite(self.mean), "std": _finite(self.std)}
        return asdict(self) | finite | {"quantiles": list(map(_finite, self.quantiles))}


def checkpoint_statistics(checkpoint: Checkpoint, graph: ParameterGraph) -> Iterator[TensorStatistics]:
    """Yield the statistics of each tensor in turn; no more than one is in memory.

    `graph` says which dimensions of a tensor are the units it writes; tensors without a block use their first.
    """
    for name, tensor in checkpoint.tensors.items():
        block = graph.blocks.get(name)
        yield tensor_statistics(name, tensor, view=block.view if block else "o" + "k" * (tensor.ndim - 1))


def tensor_statistics(name: str, tensor: Shaped[Tensor, "*dims"], *, view: str) -> TensorStatistics:
    """Return the summary numbers of one tensor of real or whole numbers.

    Args:
        name: Of the tensor.
        tensor: Any shape and any dtype but complex ones, of which only the real part is described.
        view: A letter for each dimension as in `Block.view`; dimensions lettered `o` become the rows of the matrix.

    Example:
        >>> s = tensor_statistics("w", torch.tensor([[3.0, 0.0], [0.0, 4.0]]), view="oi")
        >>> s.mean, s.spectral_norm, s.stable_rank
        (1.75, 4.0, 1.5625)
    """
    values = _sortable(tensor.detach().cpu())
    finite = values.reshape(-1)[torch.isfinite(values.reshape(-1))]
    nonfinite = values.numel() - finite.numel()
    mean, std = _moments(finite)
    norm, rank = (None, None) if nonfinite else _spectrum(unit_matrix(values, view))
    return TensorStatistics(name, nonfinite, mean, std, _quantiles(finite), norm, rank)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _sortable(tensor: Tensor) -> Tensor:
    """Same numbers in a dtype that torch can sort, without loss."""
    if tensor.is_complex():
        tensor = tensor.real
    if tensor.is_floating_point():
        return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return tensor.double()


def _moments(values: Tensor) -> tuple[float, float]:
    count = values.numel()
    if not count:
        return float("nan"), float("nan")
    mean = sum(tile.double().sum().item() for tile in values.split(_TILE)) / count
    square = sum((tile.double() - mean).square().sum().item() for tile in values.split(_TILE))
    return mean, (square / count) ** 0.5


def _quantiles(values: Tensor) -> tuple[float, ...]:
    if not values.numel():
        return (float("nan"),) * len(QUANTILES)
    ordered, last = values.sort().values, values.numel() - 1
    found = []
    for q in QUANTILES:
        below = int(q * last)
        low, high = ordered[below].item(), ordered[min(below + 1, last)].item()
        found.append(low + (high - low) * (q * last - below))
    return tuple(found)


def unit_matrix(tensor: Tensor, view: str) -> Tensor | None:
    """Return a tensor with units written as rows, everything else as columns; None if either is missing or empty.

    Args:
        tensor: Any shape.
        view: A letter for each dimension as in `Block.view`.
    """
    rows = [d for d, letter in enumerate(view) if letter == "o"]
    columns = [d for d, letter in enumerate(view) if letter != "o"]
    if not rows or not columns or not tensor.numel():
        return None
    return tensor.permute(*rows, *columns).reshape(prod(tensor.shape[d] for d in rows), -1)


def _spectrum(matrix: Tensor | None) -> tuple[float | None, float | None]:
    """Spectral norm and stable rank, from the smaller Gram matrix in float64."""
    if matrix is None:
        return None, None
    scale = matrix.abs().max().double().item()
    if scale == 0:
        return 0.0, None
    gram = scaled_gram(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T, scale)
    largest = _largest_eigenvalue(gram)
    return scale * largest**0.5, gram.trace().item() / largest


def scaled_gram(matrix: Tensor, scale: float) -> Float64[Tensor, "rows rows"]:
    """Return `M M^T` of a matrix divided by `scale`, in float64, a tile of its columns at a time."""
    rows = matrix.shape[0]
    gram = torch.zeros(rows, rows, dtype=torch.float64)
    for tile in matrix.split(max(1, _TILE // rows), dim=1):
        scaled = tile.double() / scale
        gram.addmm_(scaled, scaled.T)
    return gram


def _largest_eigenvalue(gram: Float64[Tensor, "rows rows"]) -> float:
    if len(gram) <= _DENSE:
        return torch.linalg.eigvalsh(gram)[-1].item()
    start = np.random.default_rng(0).standard_normal(len(gram))
    return float(eigsh(gram.numpy(), k=1, which="LA", v0=start, return_eigenvectors=False)[0])
