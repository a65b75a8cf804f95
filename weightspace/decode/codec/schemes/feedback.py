"""Uniform rounding with feedback: the error of each column is made good in the columns that are still to come.

With `H` the second moments of the inputs of a matrix and `U^T U` the Cholesky factors of its inverse, column `j` is
rounded and `(w_j - q_j) / U_jj * U_j,k` subtracted from every later column `k`. Entropy coded; the steps of tensors are
alike in relative or in absolute size, whichever loses less.

Source: Frantar et al. (2023), "GPTQ: accurate post-training quantization for generative pre-trained transformers",
section 3; a grid for each tensor, not for each row, since it is entropy coded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from weightspace.decode.codec.budget import fit
from weightspace.decode.codec.grid import Grid, nearest_step, round_to, step_of
from weightspace.decode.codec.moments import input_moments
from weightspace.decode.codec.schemes.rounding import Steps, step_rules
from weightspace.decode.codec.schemes.scheme import Scheme, choose, decode_grids, each
from weightspace.decode.codec.source import Source

DAMPING = 0.01
"""Share of the mean moment that is added to each."""

BLOCK = 64
"""Columns after which later ones are made good at once."""

Factors = Mapping[str, Float64[np.ndarray, "columns columns"]]


def encode(source: Source) -> bytes:
    """Return the finest grids that fit, of the better rule for steps."""
    factors = feedback_factors(source)
    return choose(source, [fit_feedback(source, factors, steps) for steps in step_rules(source)], decode_grids)


def feedback_factors(source: Source) -> Factors:
    """Return what each matrix is fed back with, by tensor name; nothing for those whose inputs are not known."""
    return {name: factor(moments) for name, moments in input_moments(source).items()}


def fit_feedback(source: Source, factors: Factors, steps: Steps) -> bytes:
    """Return the stream of the finest grids that fit."""

    def make(d: float) -> list[Grid]:
        return [feed_back(m, factors.get(name), steps[name] * d).grid for name, m in source.matrices.items()]

    return fit(make, source.budget, finest=-12.0)


def factor(moments: Float64[np.ndarray, "columns columns"]) -> Float64[np.ndarray, "columns columns"]:
    """Return the upper triangle `U` of the inverse of damped moments, rows divided by their diagonal."""
    damped = moments + np.eye(len(moments)) * (DAMPING * np.trace(moments) / len(moments) + 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    return upper / upper.diagonal()[:, None]


@dataclass(frozen=True, eq=False)
class Fed:
    """A matrix after feedback.

    Args:
        grid: Where it is rounded to.
        unrounded: What was rounded: each column with the errors of those before it made good.
    """

    grid: Grid
    unrounded: Float64[np.ndarray, "rows columns"]


def feed_back(matrix: np.ndarray, upper: Float64[np.ndarray, "columns columns"] | None, step: float) -> Fed:
    """Round a matrix column after column; to the nearest points where there are no factors."""
    rest = matrix.astype(np.float64)
    if upper is None:
        return Fed(round_to(rest, step), rest)
    index = nearest_step(step)
    step = step_of(index)
    values = np.zeros_like(rest)
    for start in range(0, matrix.shape[1], BLOCK):
        stop = min(start + BLOCK, matrix.shape[1])
        errors = np.zeros((len(matrix), stop - start))
        for j in range(start, stop):
            values[:, j] = np.rint(rest[:, j] / step)
            errors[:, j - start] = rest[:, j] - values[:, j] * step
            rest[:, j + 1 : stop] -= errors[:, j - start, None] * upper[j, j + 1 : stop]
        rest[:, stop:] -= errors @ upper[start:stop, stop:]
    return Fed(Grid(values.astype(np.int64), index), rest)


SCHEME = Scheme(each(encode), decode_grids, needs_inputs=True)
