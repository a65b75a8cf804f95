"""One scale of the hidden units for all positive rescalings of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.orders import parent_sizes
from weightspace.graph.symmetry.rescale import rescale, scalable

SWEEPS, SETTLED = 200, 1e-9


@dataclass(frozen=True, eq=False)
class Balance:
    """How the numbers of one architecture, laid out in a row, take part in the rescaling of its units.

    Args:
        powers: `(numbers, units)`, 1 where a number grows with the factor of a unit and -1 where it shrinks.
        axes: Columns of each scalable axis, one after the other.
    """

    powers: csr_matrix
    axes: tuple[slice, ...]

    def settle(self, rows: np.ndarray) -> np.ndarray:
        """Return rescaled rows whose units write as much as they read: equal squared length on both sides.

        That is the point of least squared length among all rescalings, `sum w^2 exp(2 A x)`, which is convex in the
        logarithms `x` of the factors, so two rescalings of one network become equal up to rounding. A unit that
        writes or reads nothing keeps its scale.

        Args:
            rows: `(models, numbers)`.

        Source:
            Neyshabur et al. (2015), "Path-SGD", section 2; Saul (2023), "Weight-balancing fixes and flows for deep
            learning", section 3.
        """
        if not self.axes:
            return rows
        patterns, place = _patterns(self.powers)
        energy = (_indicator(place, patterns.shape[0]) @ np.square(rows.T)).astype(np.float64)
        up, down = (patterns > 0).astype(np.float64), (patterns < 0).astype(np.float64)
        logs = np.zeros((patterns.shape[1], len(rows)))
        for _ in range(SWEEPS):
            moved = 0.0
            for axis in self.axes:
                now = energy * np.exp(2 * (patterns @ logs))
                wrote, read = up[:, axis].T @ now, down[:, axis].T @ now
                both = (wrote > 0) & (read > 0)
                step = np.zeros_like(wrote)
                step[both] = np.log(read[both] / wrote[both]) / 4
                logs[axis] += step
                moved = max(moved, float(np.abs(step).max(initial=0.0)))
            if moved < SETTLED:
                break
        return rows * np.exp((patterns @ logs)[place].T)


def balance_of(graph: ParameterGraph, checkpoint: Checkpoint, names: tuple[str, ...]) -> Balance:
    """Read off what a rescaling multiplies by trying it on a network of ones.

    Args:
        graph: Of the checkpoint; an inferred one lets nothing be rescaled.
        checkpoint: Its shapes count, not its numbers.
        names: Tensors in the order in which they are laid out.
    """
    ones = {name: torch.ones(tensor.shape, dtype=torch.float64) for name, tensor in checkpoint.tensors.items()}
    blank = Checkpoint(ones, checkpoint.metadata, checkpoint.source, checkpoint.shared)
    columns: list[csr_matrix] = []
    axes: list[slice] = []
    start = 0
    for axis, passes in scalable(graph).items():
        if passes == "sign":
            continue
        units = graph.count(axis)
        factors = (2.0 + np.arange(units)).reshape(*parent_sizes(graph, axis), -1)
        told = rescale(blank, graph, {axis: factors}).tensors
        column = _column(np.concatenate([told[name].double().numpy().ravel() for name in names]), units)
        if column is not None:
            columns.append(column)
            axes.append(slice(start, start + units))
            start += units
    numbers = sum(checkpoint.tensors[name].numel() for name in names)
    powers = _beside(columns) if columns else csr_matrix((numbers, 0))
    return Balance(powers, tuple(axes))


def _column(told: np.ndarray, units: int) -> csr_matrix | None:
    """Powers of one axis from what its factors 2, 3, 4, ... made of ones; None if they are not all 1 and -1."""
    sign = np.where(told > 1, 1, np.where(told < 1, -1, 0))
    factor = np.where(told < 1, 1 / told, told)
    unit = np.rint(factor).astype(np.int64) - 2
    rows = np.flatnonzero(sign)
    if not np.allclose(factor[rows], unit[rows] + 2, rtol=1e-9) or not len(rows):
        return None
    return csr_matrix((sign[rows].astype(np.float64), (rows, unit[rows])), (len(told), units))


def _beside(columns: list[csr_matrix]) -> csr_matrix:
    from scipy.sparse import hstack

    return csr_matrix(hstack(columns))


def _patterns(powers: csr_matrix) -> tuple[csr_matrix, np.ndarray]:
    """Return the different rows of `powers`, and which of them each number has."""
    rng = np.random.default_rng(0)
    keys = powers @ rng.standard_normal((powers.shape[1], 2))
    _, first, place = np.unique(keys.round(9), axis=0, return_index=True, return_inverse=True)
    return csr_matrix(powers[first]), place.ravel()


def _indicator(place: np.ndarray, size: int) -> csr_matrix:
    return csr_matrix((np.ones(len(place)), (place, np.arange(len(place)))), (size, len(place)))
