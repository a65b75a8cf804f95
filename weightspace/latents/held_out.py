"""Telling a property of runs that a probe was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from scipy.stats import kendalltau
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from weightspace.errors import TableError
from weightspace.latents.permutation import Fold
from weightspace.latents.probe import PropertyProbe
from weightspace.latents.properties import RUN, Property

LEVEL = 0.9
"""Share of rows that an interval should hold."""
CALIBRATION, CHOICE = 4, 3
"""One in so many of the runs that could be fitted to is kept back for intervals, and to choose the penalty."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, eq=False)
class Task:
    """Rows of which everything is known: what to tell, from what, and which belong together.

    Args:
        known: The property, of all rows of the table.
        latents: `(rows, latent)`.
        values: Of the property.
        groups: The number of each row's run.
        by: What is held out: `run` or `row`.
        left_out: How many rows of the table are not among these, by reason.
    """

    known: Property
    latents: np.ndarray
    values: np.ndarray
    groups: np.ndarray
    by: str
    left_out: Mapping[str, int]

    @classmethod
    def of(cls, known: Property, groups: np.ndarray | None, latents: np.ndarray, folds: int) -> Task:
        """Return the task of the rows that have a vector and a value; a `TableError` where they are too few."""
        by, groups = (RUN, groups) if groups is not None else ("row", np.arange(len(latents)))
        there = np.isfinite(latents).all(1)
        kept = there & known.known
        left_out = {"no vector": int((~there).sum()), "no value": int((there & ~known.known).sum())}
        if known.kind == "name":
            left_out["rare name"] = int(kept.sum())
            kept = kept & ~_rare(known.values, groups, kept, folds)
            left_out["rare name"] -= int(kept.sum())
        values, about = known.values[kept], f"column {known.column!r}"
        if len(np.unique(known.values[there & known.known])) == 1:
            only = known.values[there & known.known][0]
            raise TableError(f"{about} is {only} in every row, so there is nothing to tell; probe another.")
        count, least = len(np.unique(groups[kept])), 2 * folds
        if count < least or len(np.unique(values)) < 2:
            raise TableError(
                f"{about}: {len(values)} rows of {count} {by}s can be used (left out: {_listed(left_out)}); it takes "
                f"{least} {by}s, and two names that {folds} {by}s have each."
            )
        return cls(known, latents[kept].astype(np.float64), values, groups[kept], by, left_out)

    def part(self, folds: int, seed: int) -> list[Fold]:
        """Rows to fit to and rows to test on, no run on both sides; names of runs in equal shares."""
        equal = self.known.kind == "name" and self.by == RUN
        parting = (StratifiedGroupKFold if equal else GroupKFold)(folds, shuffle=True, random_state=seed)
        return list(parting.split(self.latents, self.values, self.groups))

    def part_blindly(self, folds: int) -> list[Fold]:
        """The same without a look at names: parts that suit the true ones would put random ones at a disadvantage."""
        return list(GroupKFold(folds, shuffle=True, random_state=0).split(self.latents, groups=self.groups))

    def told(self, fold: Fold) -> dict[str, float]:
        """Score of one fold, that of chance and the rank correlation."""
        fit, test = fold
        truth, guess = self.values[test], self.fitted(fit).predict(self.latents[test])
        if self.known.kind == "name":
            names, counts = np.unique(self.values[fit], return_counts=True)
            return {"score": float(np.mean(guess == truth)), "chance": float(np.mean(truth == names[counts.argmax()]))}
        tau = kendalltau(guess, truth).statistic if len(np.unique(truth)) > 1 else 0.0
        plain = np.full(len(truth), self.values[fit].mean())
        return {"score": _r2(guess, truth), "chance": _r2(plain, truth), "tau": float(np.nan_to_num(tau))}

    def fitted(self, rows: np.ndarray) -> PropertyProbe | DummyClassifier:
        """A probe whose penalty tells runs best that are kept back from these rows; of one name, that name."""
        x, y, kind = self.latents[rows], self.values[rows], self.known.kind
        if kind == "name" and len(np.unique(y)) == 1:
            return DummyClassifier().fit(x, y)
        learn, keep = _keep_back(self.groups[rows], CHOICE)
        if kind == "name" and len(np.unique(y[learn])) == 1:
            return PropertyProbe(kind).fit(x, y)
        scores = [PropertyProbe(kind, p).fit(x[learn], y[learn]).score(x[keep], y[keep]) for p in PENALTIES]
        return PropertyProbe(kind, PENALTIES[int(np.argmax(scores))]).fit(x, y)

    def controlled(self, seed: int) -> Task:
        """One random value a run, and rows held out instead of runs, so that memory of runs counts."""
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(self.values))
        _, first, group = np.unique(self.groups[order], return_index=True, return_inverse=True)
        drawn = generator.permutation(self.values[order][first])
        values = np.empty_like(self.values)
        values[order] = drawn[group]
        return replace(self, values=values, groups=np.arange(len(values)), by="row")

    def covered(self, fold: Fold) -> tuple[float, float]:
        """Half the width of the interval (or how many names the set has), and the share that it covers."""
        fit, test = fold
        learn, keep = (fit[part] for part in _keep_back(self.groups[fit], CALIBRATION))
        probe = self.fitted(learn)
        if self.known.kind == "number":
            margin = _conformal(np.abs(probe.predict(self.latents[keep]) - self.values[keep]))
            off = np.abs(probe.predict(self.latents[test]) - self.values[test])
            return margin, float(np.mean(off <= margin))
        margin = _conformal(1 - _of_truth(probe, self.latents[keep], self.values[keep]))
        sizes = (1 - probe.predict_proba(self.latents[test]) <= margin).sum(1)
        off = 1 - _of_truth(probe, self.latents[test], self.values[test])
        return float(sizes.mean()), float(np.mean(off <= margin))


def _keep_back(groups: np.ndarray, parts: int) -> Fold:
    """One in so many groups for later."""
    return next(GroupKFold(parts, shuffle=True, random_state=0).split(groups, groups=groups))


def _of_truth(probe: PropertyProbe, latents: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Probability of each row's own name; none where the probe has never seen it."""
    chances = probe.predict_proba(latents)
    return np.where(probe.classes_[None] == names[:, None], chances, 0).sum(1)


def _conformal(apart: np.ndarray) -> float:
    rank = ceil((len(apart) + 1) * LEVEL)
    return float(np.sort(apart)[rank - 1]) if rank <= len(apart) else np.inf


def _r2(guess: np.ndarray, truth: np.ndarray) -> float:
    around = np.square(truth - truth.mean()).sum()
    return float(1 - np.square(guess - truth).sum() / around) if around > 0 else 0.0


def _rare(values: np.ndarray, groups: np.ndarray, kept: np.ndarray, least: int) -> np.ndarray:
    """Which rows have a name that fewer than so many groups have."""
    found = np.zeros(len(values), bool)
    for name in np.unique(values[kept]):
        same = kept & (values == name)
        found |= same & (len(np.unique(groups[same])) < least)
    return found


def _listed(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "none"
