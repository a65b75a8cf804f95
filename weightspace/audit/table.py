"""One row a set of networks: how good, how new, how diverse, and both at once, all beside fresh trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from weightspace.audit.accuracy import measure_accuracy
from weightspace.audit.answers import Answers, join_answers, own_runs
from weightspace.audit.coverage import measure_coverage
from weightspace.audit.diversity import measure_diversity
from weightspace.audit.joint import bootstrap_mean, measure_joint
from weightspace.audit.networks import Group
from weightspace.audit.novelty import measure_novelty
from weightspace.audit.weight_novelty import Yardsticks, weight_novelty


@dataclass(frozen=True, eq=False)
class Known:
    """What networks are held against, all asked the same inputs.

    Args:
        train: Networks that were learned from.
        rebuilt: What the decoder makes of their latents, in the same order.
        fresh: Trainings that nothing was learned from.
        yardsticks: Weights of training networks and of reconstructions; none where they are not to be measured.
        meeting: Which training and which fresh networks meet the condition that was asked; all if None. What is
            generated is to cover those.
    """

    train: Answers
    rebuilt: Answers
    fresh: Answers
    yardsticks: Yardsticks
    meeting: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def learned_from(self) -> Answers:
        """Training networks and their reconstructions."""
        return join_answers([self.train, self.rebuilt])

    def asked(self, answers: Answers, part: int) -> Answers:
        """Return those of the training (0) or fresh (1) networks that meet the condition, all if none does."""
        return answers if self.meeting is None or not self.meeting[part].any() else answers.take(self.meeting[part])


@dataclass(frozen=True, eq=False)
class Entry:
    """A set of networks in the table.

    Args:
        kind: `generated`, `baseline` or `reference`.
        answers: Of the networks.
        groups: Their weights, by architecture; none where `weights` tells of them.
        origins: The run that each was made from, for intervals; its own where from several or none.
        seen: Whether the networks keep the runs they are of, so that their own run does not count as a copy.
        weights: Novelty of their weights, if it was measured before.
    """

    kind: str
    answers: Answers
    groups: Sequence[Group]
    origins: np.ndarray
    seen: bool = False
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """Measures of one set.

    Args:
        name: Of the set.
        kind: `generated`, `baseline` or `reference`.
        count: Networks.
        mean: Accuracy.
        mean_low: End of its interval of 95%, by run.
        mean_high: End of its interval.
        median: Accuracy.
        best: Accuracy of the best, chosen on other inputs.
        overlap: Mean of the largest error overlaps with what was learned from.
        expected: The same of fresh trainings of the same accuracy.
        novelty: Of what they answer, mean; 0 for copies, 1 for fresh trainings of the same accuracy.
        weights: Novelty of their weights, mean; NaN where they were not measured.
        least_novel: Tenth percentile of the lesser of both: the tail of copies.
        inside: Mean error overlap inside the set.
        inside_fresh: The same inside fresh trainings of like accuracies.
        disagreement: Inside the set, by that inside fresh trainings of like accuracies.
        coverage: Of fresh trainings.
        joint: Area of accuracy and the lesser novelty.
        joint_low: End of its interval.
        joint_high: End of its interval.
        accuracies: Of each network.
        novelties: The lesser novelty of each network.
    """

    name: str
    kind: str
    count: int
    mean: float
    mean_low: float
    mean_high: float
    median: float
    best: float
    overlap: float
    expected: float
    novelty: float
    weights: float
    least_novel: float
    inside: float
    inside_fresh: float
    disagreement: float
    coverage: float
    joint: float
    joint_low: float
    joint_high: float
    accuracies: np.ndarray = field(repr=False, compare=False)
    novelties: np.ndarray = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the row as a mapping without the single networks; what could not be measured is None."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("accuracies", "novelties")}
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in kept.items()}


def measure_table(entries: Mapping[str, Entry], known: Known, *, seed: int = 0) -> list[Row]:
    """Return a row for each set, in order.

    Args:
        entries: Sets by name.
        known: What they are held against.
        seed: Of all draws.
    """
    learned_from = known.learned_from
    return [_measure(name, entry, known, learned_from, seed) for name, entry in entries.items()]


def _measure(name: str, entry: Entry, known: Known, learned_from: Answers, seed: int) -> Row:
    given = entry.answers
    mine = given if entry.seen else Answers(given.chosen, given.labels, own_runs(name, len(given)))
    new = measure_novelty(mine, learned_from, known.fresh)
    accuracy, share = measure_accuracy(mine), new.share
    weights = np.full(len(mine), np.nan) if entry.weights is None else entry.weights
    if known.yardsticks and entry.weights is None:
        weights = weight_novelty(entry.groups, mine.runs, mine.accuracy, known.yardsticks)
    share = np.fmin(share, weights)
    inside = measure_diversity(mine, known.fresh)
    joint = measure_joint(mine.accuracy, share, known.train.accuracy, entry.origins, seed=seed)
    low, high = bootstrap_mean(mine.accuracy, entry.origins, seed=seed)
    return Row(
        name,
        entry.kind,
        len(mine),
        accuracy.mean,
        low,
        high,
        accuracy.median,
        accuracy.best,
        float(new.largest.mean()),
        float(new.expected.mean()),
        float(new.share.mean()),
        float(np.nanmean(weights)) if np.isfinite(weights).any() else float("nan"),
        float(np.quantile(share, 0.1)),
        inside.overlap,
        inside.fresh_overlap,
        inside.disagreement / max(inside.fresh_disagreement, 1e-6),
        measure_coverage(mine, known.asked(known.fresh, 1), known.asked(known.train, 0), seed=seed),
        joint.area,
        joint.low,
        joint.high,
        mine.accuracy,
        share,
    )
