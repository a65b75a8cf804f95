"""What a checkpoint says without its wiring: two hand-made representations to hold latents against."""

from __future__ import annotations

import numpy as np

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import Header

POOLS = (np.mean, np.std, np.min, np.median, np.max)


def header_features(header: Header) -> np.ndarray:
    """Sizes and ranks alone: totals, how many tensors of each rank, and the spread of sizes and widths over them.

    Sizes count by their logarithm. No name, no dtype, no weight.
    """
    infos = [info for info in header.tensors.values() if info.is_float]
    ranks = np.bincount([min(len(info.shape), 5) for info in infos], minlength=6)
    sizes = np.log2([max(info.size, 1) for info in infos])
    matrices = [info.shape for info in infos if len(info.shape) > 1] or [(1, 1)]
    sides = [np.log2([max(1, shape[0]), max(1, shape[-1]), max(1, shape[1])]) for shape in matrices]
    pooled = [pool(column) for column in (sizes, *np.transpose(sides)) for pool in POOLS]
    ends = np.concatenate([sides[0], sides[-1]])
    return np.concatenate([[np.log2(header.weights), np.log2(len(infos))], np.log1p(ranks), pooled, ends])


def seven_statistics(checkpoint: Checkpoint) -> np.ndarray:
    """Mean, variance and quantiles 0, 25, 50, 75, 100 of each tensor (Unterthiner et al. 2020), pooled over tensors.

    Tensors of two and more dimensions and vectors are pooled apart, each statistic by its mean, deviation, minimum,
    median and maximum over the tensors; how many there are of both joins them. Statistics are compressed to
    `sign(x) log10(1 + 1000 |x|)` (variances to their logarithm), so that large ones do not drown the small.
    """
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for info in checkpoint.header.tensors.values():
        if info.is_float and info.size:
            values = checkpoint.tensors[info.name].double().numpy().ravel()
            found[len(info.shape) > 1].append(_seven(values[np.isfinite(values)]))
    pooled = [_pooled(np.array(part)) for part in found]
    return np.concatenate([*pooled, np.log2([1 + len(part) for part in found])])


def _seven(values: np.ndarray) -> np.ndarray:
    signed = np.array([values.mean(), *np.quantile(values, (0, 0.25, 0.5, 0.75, 1))])
    return np.array([np.log10(values.var() + 1e-12), *(np.sign(signed) * np.log10(1 + 1000 * abs(signed)))])


def _pooled(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([pool(rows, axis=0) for pool in POOLS]) if len(rows) else np.zeros(7 * len(POOLS))
