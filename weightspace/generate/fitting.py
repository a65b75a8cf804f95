"""What a generator is fitted to: rows of a table, held out by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from weightspace.errors import GeneratorError
from weightspace.generate.codes import Code, read_codes
from weightspace.latents.properties import read_groups
from weightspace.latents.table import LatentTable

LEAST, ONE_IN = 16, 7
"""Rows to learn from, at least; runs that are held out where the table does not say."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Networks that a generator knows.

    Args:
        ids: Of the checkpoints.
        runs: Which belong together, by number.
        vectors: Their latents.
        codes: Of their properties.
        architectures: Id of each one's architecture; empty text where the table does not say.
        encoder: Id of the encoder whose latents they are.
    """

    ids: np.ndarray
    runs: np.ndarray
    vectors: Float32[np.ndarray, "rows latent"]
    codes: Float32[np.ndarray, "rows columns"]
    architectures: np.ndarray
    encoder: str

    def __len__(self) -> int:
        return len(self.ids)


def read_rows(table: LatentTable, properties: Sequence[str] | None) -> tuple[Rows, Rows, list[Code]]:
    """Return the rows to learn from, held-out ones, and how properties are written.

    Raises:
        GeneratorError: Rows are too few, hold numbers that are not finite, or a property is no good.
    """
    good = np.isfinite(table.vectors).all(1)
    if "diverged" in table.columns:
        good &= ~table["diverged"].astype(bool)
    train, held_out = _part(table, good)
    if len(train) < LEAST or not len(held_out):
        raise GeneratorError(
            f"{len(train)} rows to learn from and {len(held_out)} to hold out (of {len(table)}; those without a latent "
            f"or that diverged do not count): it takes {LEAST} and one at least."
        )
    wanted = None if properties is None else list(properties)
    codes = read_codes(table, train, wanted)
    return _rows(table, train, codes), _rows(table, held_out, codes), codes


def _part(table: LatentTable, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if "split" in table.columns:
        split = table["split"].astype(str)
        return np.flatnonzero(good & (split == "train")), np.flatnonzero(good & (split == "validation"))
    groups = read_groups(table)
    groups = np.arange(len(table)) if groups is None else groups
    runs = np.random.default_rng(0).permutation(np.unique(groups))
    kept_back = np.isin(groups, runs[: max(1, len(runs) // ONE_IN)])
    return np.flatnonzero(good & ~kept_back), np.flatnonzero(good & kept_back)


def _rows(table: LatentTable, rows: np.ndarray, codes: Sequence[Code]) -> Rows:
    written = [code.write(list(table[code.name][rows])) for code in codes]
    groups = read_groups(table)
    return Rows(
        np.array([str(i) for i in table["id"][rows]], object),
        np.arange(len(rows)) if groups is None else groups[rows],
        table.vectors[rows],
        np.concatenate(written, 1) if written else np.zeros((len(rows), 0), np.float32),
        np.array(
            [str(a) for a in table["architecture"][rows]] if "architecture" in table.columns else [""] * len(rows),
            object,
        ),
        table.encoder,
    )
