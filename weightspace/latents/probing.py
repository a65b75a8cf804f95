"""What a latent says of a property: a probe's score beside chance, a control task, a permutation test, an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from weightspace.errors import TableError
from weightspace.latents.held_out import Task
from weightspace.latents.permutation import permutation_p
from weightspace.latents.properties import read_groups, read_property
from weightspace.latents.table import LatentTable


@dataclass(frozen=True)
class ProbeSettings:
    """How a property is probed.

    Args:
        folds: Parts of the runs; each is told by a probe that was fitted to the others.
        seeds: How many times the runs are parted anew.
        permutations: How many random properties the true one is held against.
    """

    folds: int = 5
    seeds: int = 3
    permutations: int = 200


@dataclass(frozen=True)
class ProbeReport:
    """What a linear probe reads off held-out runs. Means are over folds and seeds.

    Args:
        column: The property.
        kind: `number` (scores are R2) or `name` (accuracy).
        rows: How many were used.
        left_out: How many were not, by reason.
        groups: How many runs, none of which stands on both sides of a fold; or rows where the table has no runs.
        by: What was held out: `run` or `row`.
        score: Mean.
        spread: Standard deviation over folds and seeds.
        chance: Score of the mean, or the commonest name, of the fitted rows.
        control: Score where each run has one random value, drawn from the property's; rows of a run on both sides.
        p_value: Of a random property being told as well; at least `1 / (1 + permutations)`.
        margin: 90 % of held-out rows should lie within so much of what is told; for names, how many names the set
            that should hold the true one has on average. None where too few rows were kept back.
        coverage: Share of held-out rows for which that is true.
        tau: Kendall's rank correlation, for numbers.
    """

    column: str
    kind: str
    rows: int
    left_out: Mapping[str, int]
    groups: int
    by: str
    score: float
    spread: float
    chance: float
    control: float
    p_value: float
    margin: float | None
    coverage: float
    tau: float | None

    @property
    def selectivity(self) -> float:
        """Score less that of the control task: how much is the property, and how much the probe's memory."""
        return self.score - self.control

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON's types."""
        return asdict(self) | {"left_out": dict(self.left_out), "selectivity": self.selectivity}


def probe_property(table: LatentTable, column: str, settings: ProbeSettings | None = None) -> ProbeReport:
    """Tell a property of held-out runs from their vectors.

    Rows of one `run` are never on both sides; a table without that column is parted by rows, and the report says so.
    Left out are rows without a vector or a value, and names that too few runs have.

    Args:
        table: Of latents.
        column: The property.
        settings: How.

    Raises:
        TableError: The column is missing, holds no value or always the same, or too few runs have one.

    Source:
        Hewitt and Liang (2019), "Designing and interpreting probes with control tasks": a type of words is a run here.
        Vovk, Gammerman, Shafer (2005), "Algorithmic learning in a random world" (split conformal sets).
    """
    return probe_stages(table, {"vector": table.vectors}, column, settings)["vector"]


def probe_stages(
    table: LatentTable,
    stages: Mapping[str, Float[np.ndarray, "rows width"]],
    column: str,
    settings: ProbeSettings | None = None,
) -> dict[str, ProbeReport]:
    """Tell a property from each stage of the networks, as `probe_property` does from the vector.

    Args:
        table: Of latents.
        stages: What each stage says of each row of the table; NaN in rows that have no such stage.
        column: The property.
        settings: How.

    Raises:
        TableError: As for `probe_property`, or a stage has another number of rows.
    """
    known, groups = read_property(table, column), read_groups(table)
    found = {}
    for stage, latents in stages.items():
        if len(latents) != len(table):
            raise TableError(f"stage {stage!r} has {len(latents)} rows, the table {len(table)}.")
        how = settings or ProbeSettings()
        found[stage] = _report(Task.of(known, groups, latents, how.folds), how)
    return found


def _report(task: Task, settings: ProbeSettings) -> ProbeReport:
    kind, seeds = task.known.kind, range(settings.seeds)
    parts = [task.part(settings.folds, seed) for seed in seeds]
    held_out = [task.told(fold) for folds in parts for fold in folds]
    drawn = [task.controlled(seed) for seed in seeds]
    control = [one.told(f)["score"] for seed, one in enumerate(drawn) for f in one.part(settings.folds, seed)]
    sets = [task.covered(fold) for folds in parts for fold in folds]
    blind, count = task.part_blindly(settings.folds), settings.permutations
    p_value = permutation_p(task.latents, task.values, task.groups, folds=blind, permutations=count, seed=0)
    mean = {name: float(np.mean([one[name] for one in held_out])) for name in held_out[0]}
    margin = float(np.mean([size for size, _ in sets]))
    return ProbeReport(
        column=task.known.column,
        kind=kind,
        rows=len(task.values),
        left_out={reason: count for reason, count in task.left_out.items() if count},
        groups=len(np.unique(task.groups)),
        by=task.by,
        score=mean["score"],
        spread=float(np.std([one["score"] for one in held_out])),
        chance=mean["chance"],
        control=float(np.mean(control)),
        p_value=p_value,
        margin=margin if np.isfinite(margin) else None,
        coverage=float(np.mean([share for _, share in sets])),
        tau=mean.get("tau"),
    )
