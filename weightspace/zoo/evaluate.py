"""Measure the stored networks of a population again, and hold the manifest to what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from weightspace.errors import WeightspaceError, ZooError
from weightspace.execute.measure import score
from weightspace.execute.stack import Stacked, run_stacked
from weightspace.zoo.data import Dataset, load_dataset, shift_dataset
from weightspace.zoo.families import FAMILIES
from weightspace.zoo.store import Population

MODELS, INPUTS = 64, 250
"""Networks and inputs run at once."""


@dataclass(frozen=True)
class Choice:
    """Which networks are measured, on what and where.

    Args:
        dataset: Instead of the one that each was trained on.
        data_dir: Folder of dataset files.
        split: Networks of this split alone: `train`, `validation` or `test`.
        device: `cpu` or `cuda`.
    """

    dataset: str | None = None
    data_dir: str | None = None
    split: str | None = None
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured.

    Args:
        rows: A row a network: `id`, `dataset`, `accuracy`, `loss`, and how far they lie from the manifest's as
            `accuracy_deviation` and `loss_deviation` (see `deviation`; missing where it was recorded on other data).
        verified: Networks whose weights are those that the manifest's SHA-256 tells.
        problems: What could not be read or measured, by id or dataset.
    """

    rows: pd.DataFrame
    verified: int
    problems: tuple[tuple[str, WeightspaceError], ...]

    def summarise(self) -> dict[str, Any]:
        """Return counts, and for each dataset what was measured and the largest deviation from the manifest."""
        groups = self.rows.groupby("dataset", sort=True)
        return {
            "verified": self.verified,
            "measured": len(self.rows),
            "failed": len(self.problems),
            "datasets": [{"dataset": str(name), **_summarise_rows(rows)} for name, rows in groups],
        }


def _summarise_rows(rows: pd.DataFrame) -> dict[str, Any]:
    apart = {key: rows[f"{key}_deviation"].dropna() for key in ("accuracy", "loss")}
    finite = {key: values[np.isfinite(values)] for key, values in apart.items()}
    losses = rows["loss"][np.isfinite(rows["loss"])]
    return {
        "networks": len(rows),
        "mean_accuracy": float(rows["accuracy"].mean()),
        "best_accuracy": float(rows["accuracy"].max()),
        "median_loss": float(losses.median()) if len(losses) else None,
        "compared": len(apart["accuracy"]),
        "max_accuracy_deviation": float(finite["accuracy"].max()) if len(finite["accuracy"]) else None,
        "max_loss_deviation": float(finite["loss"].max()) if len(finite["loss"]) else None,
        "incomparable": int(np.isinf(apart["loss"]).sum()),
    }


def evaluate_population(
    population: Population, choice: Choice | None = None, *, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Return accuracy and loss of each stored network on its test part; a bad one costs the others nothing.

    A network trained on shifted data is tested on data shifted alike. Networks that answer with values or actions are
    read and verified only.

    Args:
        population: Of any architectures.
        choice: All networks on their own data if None.
        progress: Called with the number of networks done and of all.

    Raises:
        ZooError: No network is of the chosen split.
    """
    choice = choice or Choice()
    rows = _choose_rows(population, choice)
    work = _Work(population, choice)
    done = 0
    for (name, shift), same in rows.groupby(["on", "shift_of_data"], sort=True):
        for architecture, alike in same.groupby("architecture", sort=True, observed=True):
            for start in range(0, len(alike), MODELS):
                batch = alike.iloc[start : start + MODELS]
                work.measure(str(architecture), batch, str(name), str(shift))
                done += len(batch)
                if progress:
                    progress(done, len(rows))
    columns = ["id", "dataset", "accuracy", "loss", "accuracy_deviation", "loss_deviation"]
    empty = pd.DataFrame({name: [] for name in columns})
    return Evaluation(pd.concat(work.found or [empty]), work.verified, tuple(work.problems))


def _choose_rows(population: Population, choice: Choice) -> pd.DataFrame:
    where = [("split", "==", choice.split)] if choice.split else []
    rows = population.frame(where=where)
    if rows.empty:
        raise ZooError(f"{population.folder}: no network is of the split {choice.split!r}.")
    on = choice.dataset or (rows["dataset"].astype(str) if "dataset" in rows else "")
    shift = rows["shift"].astype(object).fillna("none") if "shift" in rows else "none"
    return rows.assign(on=on, shift_of_data=shift)


class _Work:
    """Measures batches of equal networks, and notes what fails."""

    def __init__(self, population: Population, choice: Choice):
        self.population, self.choice, self.verified = population, choice, 0
        self.found: list[pd.DataFrame] = []
        self.problems: list[tuple[str, WeightspaceError]] = []
        self.failed: set[tuple[str, str]] = set()

    def measure(self, architecture: str, rows: pd.DataFrame, name: str, shift: str) -> None:
        """Read, verify and, where it has answers that can be right or wrong, measure one batch."""
        read = list(self._read(rows))
        self.verified += sum(map(len, (rows for rows, _ in read)))
        known = self.population.architectures[architecture]
        if known.get("family") in FAMILIES and FAMILIES[known["family"]].data in ("image", "control"):
            return
        if (name, architecture) in self.failed:
            return
        try:
            module = self.population.module(architecture)
            data = self._data(name, shift)
            wanted = (tuple(known["signature"]["inputs"]), known["signature"]["outputs"])
            if (data.signature.inputs, data.signature.outputs) != wanted:
                raise ZooError(f"it is {data.signature}, networks of architecture {architecture} take {wanted}.")
        except WeightspaceError as error:
            self.failed.add((name, architecture))
            self.problems.append((name or str(self.population.folder), error))
            return
        for some, stack in read:
            accuracy, loss = measure_stack(module, stack, data, device=self.choice.device)
            self.found.append(self._compare(some, name, accuracy, loss))

    def _read(self, rows: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, Stacked]]:
        """The batch at once; where something in it is wrong, what is left of it one by one."""
        try:
            yield rows, self.population.stack(rows)
        except ZooError:
            for place in range(len(rows)):
                one = rows.iloc[place : place + 1]
                try:
                    yield one, self.population.stack(one)
                except ZooError as error:
                    self.problems.append((str(one["id"].iloc[0]), error))

    def _data(self, name: str, shift: str) -> Dataset:
        if not name:
            raise ZooError(f"{self.population.folder}: the manifest names no dataset; choose one (--dataset).")
        return shift_dataset(load_dataset(name, self.choice.data_dir), shift)

    def _compare(self, rows: pd.DataFrame, name: str, accuracy: Tensor, loss: Tensor) -> pd.DataFrame:
        found = pd.DataFrame({"id": rows["id"].to_numpy(), "dataset": name})
        same = (rows["dataset"].astype(str) == name).to_numpy() if "dataset" in rows else np.zeros(len(rows), bool)
        for key, values in (("accuracy", accuracy), ("loss", loss)):
            measured, recorded = values.double().cpu().numpy(), np.full(len(rows), np.nan)
            if f"test_{key}" in rows:
                recorded[same] = rows[f"test_{key}"].to_numpy(np.float64)[same]
            found[key], found[f"{key}_deviation"] = measured, deviation(measured, recorded)
        return found


def deviation(measured: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Return `|measured - recorded| / max(1, |recorded|)`; missing where nothing was recorded.

    It is 0 where both are no finite numbers, and infinite where one of them is not.

    Example:
        >>> deviation(np.array([0.5, 90.0, np.nan, 1.0]), np.array([0.25, 100.0, np.inf, np.nan])).tolist()
        [0.25, 0.1, 0.0, nan]
    """
    finite, known = np.isfinite(measured), np.isfinite(recorded)
    here, there = np.where(finite, measured, 0.0), np.where(known, recorded, 0.0)
    apart = np.where(finite == known, np.abs(here - there) * known / np.maximum(1.0, np.abs(there)), np.inf)
    return np.where(np.isnan(recorded), np.nan, apart)


@torch.no_grad()
def measure_stack(module: nn.Module, stack: Stacked, data: Dataset, *, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return test accuracy and loss `(models,)` of each network of a stack, in single precision."""
    module = module.to(device).eval()
    tensors = {name: t.to(device, torch.float32 if t.is_floating_point() else t.dtype) for name, t in stack.items()}

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(data.x_test.split(INPUTS), data.y_test.split(INPUTS), strict=True):
            logits = run_stacked(module, tensors, x.to(device))
            yield logits.flatten(1, -2), y.to(device).flatten()

    scores = score(batches())
    return scores.accuracy, scores.loss
