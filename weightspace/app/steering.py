"""Sliders along what probes read off latents: how far a latent moves so that they read something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from jaxtyping import Float

from weightspace.errors import ExplorerError, TableError
from weightspace.latents.colours import LOGARITHMIC
from weightspace.latents.held_out import Task
from weightspace.latents.map import DISTANCE, PLACED
from weightspace.latents.probe import PropertyProbe
from weightspace.latents.properties import Property, read_groups, read_property
from weightspace.latents.table import COLUMNS, LatentTable

FOLDS, ROWS, LEAST, MOST = 5, 5000, 0.2, 6
"""Parts that a probe is scored on; rows that it is fitted to, at most; the R2 that a slider needs; sliders, at most."""
NUMBERED = ("run", "seed", "row", "snapshot")
PASSED_OVER = {*COLUMNS, "vector", PLACED, DISTANCE, *NUMBERED, "step", "novelty", "width", "depth"}
"""Columns of the table itself, numbers that are names, and those that the architecture alone decides."""

Vector = Float[np.ndarray, " latent"]


@dataclass(frozen=True, eq=False)
class Slider:
    """One property that can be read off a latent by a line.

    Args:
        column: Its name.
        logarithmic: Whether the probe reads the decimal logarithm: of positive numbers that span magnitudes.
        low: Where the slider begins: the 1st percentile of the table, in what the probe reads.
        high: Where it ends, the 99th.
        score: R2 on runs that the probe was not fitted to.
        weights: Of the probe, `(latent,)`.
        intercept: Of the probe.
    """

    column: str
    logarithmic: bool
    low: float
    high: float
    score: float
    weights: Vector
    intercept: float

    def read(self, vector: Vector) -> float:
        """Return what the probe reads; of a logarithmic one, the logarithm."""
        return float(vector @ self.weights + self.intercept)

    def as_dict(self) -> dict[str, Any]:
        """Return what a page shows, as JSON's types."""
        names = ("column", "logarithmic", "low", "high", "score")
        return {name: getattr(self, name) for name in names}


@final
@dataclass(frozen=True, eq=False)
class Steering:
    """Moves latents so that probes read what is wanted.

    The move is the smallest by Mahalanobis distance, `S W (W' S W)^-1 (wanted - read)`, with the covariance `S` of the
    table's latents and the probes' weights `W`: along what goes with the property among known networks, not along the
    probe's weights, which also cancel what does not.

    Args:
        sliders: The probes, best first.
        covariance: Of the table's latents, `(latent, latent)`, with a thousandth of its mean variance on the diagonal.

    Source:
        Haufe et al. (2014), "On the interpretation of weight vectors of linear models in multivariate neuroimaging",
        section 2.2; there for one pattern at a time.
    """

    sliders: tuple[Slider, ...]
    covariance: Float[np.ndarray, "latent latent"]

    def read(self, vector: Vector) -> dict[str, float]:
        """Return what every probe reads."""
        return {slider.column: slider.read(vector) for slider in self.sliders}

    def move(self, vector: Vector, wanted: Mapping[str, float]) -> Vector:
        """Return the latent at which the named probes read what is wanted; the others are free.

        Args:
            vector: Where to start.
            wanted: By column; of a logarithmic slider, the logarithm.

        Raises:
            ExplorerError: There is no such slider, or a number is not finite.
        """
        known = {slider.column: slider for slider in self.sliders}
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            raise ExplorerError(f"there is no slider {', '.join(unknown)}; there are {', '.join(known) or 'none'}.")
        if not np.isfinite(list(wanted.values())).all():
            raise ExplorerError("a slider stands at no finite number: set it again.")
        if not wanted:
            return vector
        weights = np.stack([known[name].weights for name in wanted], axis=1)
        gap = np.array([value - known[name].read(vector) for name, value in wanted.items()])
        pattern = self.covariance @ weights
        return vector + pattern @ np.linalg.lstsq(weights.T @ pattern, gap, rcond=1e-9)[0]


def fit_steering(table: LatentTable) -> Steering:
    """Return the sliders of a table: numbers that a probe reads off held-out runs with an R2 of at least 0.2.

    At most 5,000 rows are looked at, drawn once and for all, and the best six properties are kept.

    Args:
        table: Of latents.
    """
    rows = np.flatnonzero(np.isfinite(table.vectors).all(1))
    if len(rows) > ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, ROWS, replace=False))
    part = LatentTable(table.data.take(rows))
    vectors, groups = part.vectors.astype(np.float64), read_groups(part)
    found = [slider for name in _numbers(part) if (slider := _slider(part, name, vectors, groups)) is not None]
    apart = vectors - vectors.mean(0)
    covariance = apart.T @ apart / max(1, len(vectors) - 1)
    covariance += 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return Steering(tuple(sorted(found, key=lambda s: -s.score)[:MOST]), covariance)


def _numbers(table: LatentTable) -> Sequence[str]:
    twins = {"train_" + name.removeprefix("test_") for name in table.columns if name.startswith("test_")}
    kept = [name for name in table.columns if name not in PASSED_OVER | twins and not name.startswith("predicted_")]
    return [name for name in kept if _read(table, name) is not None]


def _read(table: LatentTable, name: str) -> Property | None:
    try:
        known = read_property(table, name)
    except TableError:  # neither numbers nor names, or no value
        return None
    return known if known.kind == "number" else None


def _slider(table: LatentTable, name: str, vectors: np.ndarray, groups: np.ndarray | None) -> Slider | None:
    known = _read(table, name)
    assert known is not None, "only columns of numbers come here"
    there = known.values[known.known]
    logarithmic = bool(there.min() > 0 and there.max() > LOGARITHMIC * there.min())
    if logarithmic:
        known = replace(known, values=np.log10(np.where(known.known, known.values, 1.0)))
    try:
        task = Task.of(known, groups, vectors, FOLDS)
    except TableError:  # always the same, or of too few runs
        return None
    score = float(np.mean([_score(task, *fold) for fold in task.part(FOLDS, 0)]))
    low, high = np.quantile(task.values, [0.01, 0.99])
    if score < LEAST or low == high:
        return None
    probe = PropertyProbe().fit(task.latents, task.values)
    weights = probe.model_.coef_ / probe.spread_
    intercept = float(probe.model_.intercept_ - probe.centre_ @ weights)
    return Slider(name, logarithmic, float(low), float(high), score, weights, intercept)


def _score(task: Task, fit: np.ndarray, test: np.ndarray) -> float:
    return PropertyProbe().fit(task.latents[fit], task.values[fit]).score(task.latents[test], task.values[test])
