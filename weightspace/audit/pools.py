"""Baselines from training networks of several architectures, as many of each as meet the condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from weightspace.audit.answers import Answers, own_runs
from weightspace.audit.baselines import BASELINES
from weightspace.audit.baselines.pool import Pool
from weightspace.audit.networks import Group, answer_groups, take_groups
from weightspace.audit.table import Entry
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program


def make_pools(groups: Sequence[Group], runs: np.ndarray, meeting: np.ndarray) -> list[tuple[Group, Pool]]:
    """Return the networks of each architecture that meet a condition.

    Args:
        groups: Training networks.
        runs: Of all of them.
        meeting: Which meet the condition.
    """
    origins = runs[meeting]
    found = []
    for group in take_groups(groups, meeting):
        graph = trace_program(Program.from_json(group.program))
        found.append((group, Pool(group.weights, origins[group.places], graph, group.module)))
    return found


def make_baselines(
    pools: Sequence[tuple[Group, Pool]], count: int, *, seed: int = 0, names: Sequence[str] | None = None
) -> Iterator[tuple[str, list[Group], np.ndarray]]:
    """Yield the name, the networks and their origins of each baseline, `count` networks in all."""
    counts = _shares([len(pool) for _, pool in pools], count)
    for name in BASELINES if names is None else names:
        groups: list[Group] = []
        origins: list[str] = []
        for (group, pool), some in zip(pools, counts, strict=True):
            if not some:
                continue
            made, runs = BASELINES[name](pool, some, torch.Generator().manual_seed(seed))
            places = np.arange(len(origins), len(origins) + some)
            groups.append(Group(places, group.program, group.module, made))
            origins += [f"{len(groups)} {run}" if run.split()[-1].isdigit() else run for run in runs]
        yield name, groups, np.array(origins, object)


def answer_baselines(
    pools: Sequence[tuple[Group, Pool]], count: int, inputs: torch.Tensor, labels: torch.Tensor, *, seed: int = 0
) -> Mapping[str, Entry]:
    """Return every baseline as a set of the table."""
    found = {}
    for name, groups, origins in make_baselines(pools, count, seed=seed):
        answers: Answers = answer_groups(groups, inputs, labels, own_runs(name, count))
        found[name] = Entry("baseline", answers, groups, origins)
    return found


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """Whole numbers in proportion to sizes that add up to `count`."""
    ends = np.rint(np.cumsum([0, *sizes]) / sum(sizes) * count).astype(int)
    return np.diff(ends).tolist()
