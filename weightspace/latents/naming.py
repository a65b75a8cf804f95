"""Groups of rows, each named by the property that sets it apart best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from weightspace.errors import TableError
from weightspace.latents.properties import RUN, read_property
from weightspace.latents.table import LatentTable

SAMPLE, EDGES, NAMES, DRAWS = 5000, 24, 64, 20
"""Rows that rules are tried on, ends of ranges, names that a column may have, and random groups, at most."""
NEVER = {"id", "path", "sha256", "vector", "error", "parent", "seed", "cluster", RUN}


@dataclass(frozen=True)
class Name:
    """The rule that tells best which rows are of a group; `column` is empty where no rule beats random groups.

    Args:
        column: The property.
        value: Its name, or its range, both ends of it.
        precision: Share of the rows that meet the rule which are of the group.
        recall: Share of the group's rows that meet the rule.
        agreement: Matthews' correlation of rule and group: 1 where they are the same, 0 where they have nothing to do
            with each other.
        chance: The greatest agreement that the best rules for 20 random groups of this size reached.
    """

    column: str
    value: str
    precision: float
    recall: float
    agreement: float
    chance: float


def name_groups(table: LatentTable, groups: Bool[np.ndarray, "groups rows"], seed: int = 0) -> list[Name]:
    """Return a name for each group.

    Tried are every name of a column and every range between quantiles of its numbers; columns that say where a row is
    from, or that are too varied to be names, are not.

    Args:
        table: Of latents.
        groups: Which rows are of each group; rows of none are what groups are set apart from.
        seed: Of the random groups, and of the 5,000 rows that are looked at where there are more.

    Source:
        Matthews (1975), "Comparison of the predicted and observed secondary structure of T4 phage lysozyme".
    """
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(table))[:SAMPLE])
    members = [groups[:, rows]]
    members += [generator.permuted(groups[:, rows], axis=1) for _ in range(DRAWS)]
    inside = np.concatenate(members).T.astype(np.float32)
    best = np.zeros(inside.shape[1])
    said = [("", "", 0.0, 0.0)] * len(groups)
    for column, values, rules in _rules(table, rows):
        hits = rules.astype(np.float32) @ inside
        score = _agreement(hits, rules.sum(1), inside.sum(0), len(rows))
        first = score.argmax(0)
        for i in np.flatnonzero(score.max(0)[: len(groups)] > best[: len(groups)]):
            hit, rule = float(hits[first[i], i]), first[i]
            said[i] = (column, values[rule], hit / float(rules[rule].sum()), hit / float(inside[:, i].sum()))
        best = np.maximum(best, score.max(0))
    true, chance = best[: len(groups)], best.reshape(DRAWS + 1, -1)[1:].max(0)
    told = [one if score > most else ("", "", 0.0, 0.0) for one, score, most in zip(said, true, chance, strict=True)]
    return [Name(*one, float(score), float(most)) for one, score, most in zip(told, true, chance, strict=True)]


def _agreement(hits: np.ndarray, met: np.ndarray, members: np.ndarray, rows: int) -> Float[np.ndarray, "rules groups"]:
    met, members = met.astype(np.float64)[:, None], members.astype(np.float64)[None]
    spread = met * (rows - met) * members * (rows - members)
    return (hits * float(rows) - met * members) / np.sqrt(np.where(spread > 0, spread, np.inf))


def _rules(table: LatentTable, rows: np.ndarray) -> Iterator[tuple[str, list[str], Bool[np.ndarray, "rules rows"]]]:
    """Yield each property with what its rules say and which rows meet them."""
    for column in table.columns:
        if column in NEVER:
            continue
        try:
            known = read_property(table, column)
        except TableError:  # a list, or empty: nothing to name by
            continue
        values, there = known.values[rows], known.known[rows]
        different = np.unique(values[there])
        if len(different) < 2 or (known.kind == "name" and len(different) > NAMES):
            continue
        if known.kind == "name":
            yield column, list(different), (values[None] == different[:, None]) & there
            continue
        if len(different) > EDGES:
            different = np.unique(np.quantile(values[there], np.linspace(0, 1, EDGES), method="nearest"))
        low, high = np.triu_indices(len(different))
        texts = [
            f"{a:.4g}" if a == b else f"{a:.4g} to {b:.4g}"
            for a, b in zip(different[low], different[high], strict=True)
        ]
        yield column, texts, (values >= different[low][:, None]) & (values <= different[high][:, None]) & there
